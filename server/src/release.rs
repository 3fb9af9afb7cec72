//! Which release of the server this is, and of when.

use std::sync::LazyLock;

/// The server's version, as answers and the banner give it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// When its source was committed, or it was built (RFC 3339); build.rs knows which.
#[must_use]
pub fn build_date() -> String {
    let date = env!("BUILD_SECONDS").parse().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    date.map_or_else(|| "unknown".to_owned(), |date| date.to_string())
}

/// Version and date, as `highwaterd --version` shows them.
pub static VERSION_AND_DATE: LazyLock<String> = LazyLock::new(|| format!("{VERSION} (built {})", build_date()));

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_build_sets_is_no_setting_of_a_daemon_that_cargo_runs() {
        let set: Vec<&str> = include_str!("../build.rs").split("rustc-env=").skip(1).collect();
        assert!(!set.is_empty() && set.iter().all(|name| !name.starts_with("HIGHWATER_")), "{set:?}");
    }
}
