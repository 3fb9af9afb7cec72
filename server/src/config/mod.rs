//! Configuration: what may be set, where values come from, and how they are shown.
//!
//! Pure but for [`load`], which reads the file that was named. Nothing is ignored: an unknown name, a value without a
//! needed unit or outside its range refuses the start.

mod args;
mod peers;
mod settings;
mod sources;
mod units;

use std::path::{Path, PathBuf};

pub use args::{Args, Command};
pub use peers::{HostPort, Peers, Seeds};
pub use settings::{Config, DEFINITIONS, Definition, Setting};
pub use sources::Origin;
pub use units::{
    AutoCount, Bytes, Cores, LogFormat, LogLevel, MetricsAccess, Origins, Period, Secret, SettingValue, SetupAccess,
    Text,
};

use sources::Merged;

/// Exit code of a refused configuration (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {reason}", file.display())]
    Unreadable {
        /// Its name.
        file: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The file is no TOML.
    #[error("{file} is not valid TOML: {message}")]
    Syntax {
        /// Its name.
        file: String,
        /// Where and what.
        message: String,
    },
    /// No setting has this name.
    #[error("unknown setting {name} in {place}{}", suggestion.as_ref().map_or_else(|| "; highwaterd --print-config lists all settings".to_owned(), |meant| format!("; did you mean {meant}?")))]
    UnknownKey {
        /// Where it was given.
        place: String,
        /// The name.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A value that cannot be read or is out of range.
    #[error("{place}: '{value}' {reason}")]
    BadValue {
        /// Where it was given.
        place: String,
        /// Its text.
        value: String,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// The configuration from a file's text, environment variables and the command line.
///
/// # Errors
/// The first name or value that is refused.
pub fn resolve(
    file: Option<(&str, &str)>,
    environment: impl IntoIterator<Item = (String, String)>,
    args: &Args,
) -> Result<Config, ConfigError> {
    let mut merged = Merged::default();
    if let Some((name, text)) = file {
        merged.add_file(name, text)?;
    }
    merged.add_environment(environment)?;
    args.add_to(&mut merged)?;
    Config::resolve(&merged)
}

/// The configuration of this process: the file named by `--config` or `HIGHWATER_CONFIG`, its environment and its arguments.
///
/// # Errors
/// An unreadable file; a name or value that is refused.
#[allow(clippy::disallowed_methods, reason = "runs before the first executor starts")]
pub fn load(args: &Args) -> Result<Config, ConfigError> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    let named = environment.iter().find(|(name, value)| name == "HIGHWATER_CONFIG" && !value.is_empty());
    let file = args.config.clone().or_else(|| named.map(|(_, value)| PathBuf::from(value)));
    let text = file.as_deref().map(read).transpose()?;
    resolve(text.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), environment, args)
}

#[allow(clippy::disallowed_methods, reason = "runs before the first executor starts")]
fn read(file: &Path) -> Result<(String, String), ConfigError> {
    let text =
        std::fs::read_to_string(file).map_err(|reason| ConfigError::Unreadable { file: file.to_owned(), reason })?;
    Ok((file.display().to_string(), text))
}

/// All settings as TOML, each with its origin, for `--print-config`. A secret that is given is a comment without its value.
#[must_use]
pub fn print(config: &Config) -> String {
    let mut text = String::new();
    for Setting { name, value, secret, origin, .. } in config.every_setting() {
        let line = if secret && !value.is_empty() {
            format!("# {name} = \"***\"")
        } else {
            format!("{name} = {}", toml::Value::String(value))
        };
        text.push_str(&format!("{line:<48} # {origin}\n"));
    }
    text
}

/// The table of all settings for the documentation.
#[must_use]
pub fn reference_table() -> String {
    let mut text = String::from("| setting | kind | default | environment | what it does |\n|---|---|---|---|---|\n");
    for definition in DEFINITIONS {
        let default =
            if definition.default.is_empty() { "none".to_owned() } else { format!("`{}`", definition.default) };
        text.push_str(&format!(
            "| `{}` | {} | {default} | `{}` | {} |\n",
            definition.name,
            definition.kind,
            definition.environment(),
            definition.description.trim(),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Run with HIGHWATER_TEST_BLESS=1 to write the table anew.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "reads a page of the book")]
    fn the_book_lists_every_setting() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
        let text = std::fs::read_to_string(&page).unwrap();
        let (head, rest) = text.split_once("<!-- settings -->\n").unwrap();
        let (_, tail) = rest.split_once("<!-- /settings -->").unwrap();
        let wanted = format!("{head}<!-- settings -->\n\n{}\n<!-- /settings -->{tail}", reference_table());
        if std::env::var_os("HIGHWATER_TEST_BLESS").is_some() {
            std::fs::write(&page, &wanted).unwrap();
        }
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(
            text == wanted,
            "docs/operations.md is not up to date: HIGHWATER_TEST_BLESS=1 cargo test -p highwater-server the_book"
        );
    }

    #[test]
    fn flags_win_over_the_environment_and_the_environment_over_the_file() {
        let file = "user_shards = 2\n[http]\naddr = '127.0.0.1:1'\nmax_body = '1MiB'\n";
        let environment =
            variables(&[("HIGHWATER_HTTP_ADDR", "127.0.0.1:2"), ("HIGHWATER_SQL_MAX_PARAMS", "7"), ("PATH", "/bin")]);
        let args =
            Args { http_addr: Some("127.0.0.1:3".into()), set: vec!["sql.max_text=2MiB".into()], ..Args::default() };
        let config = resolve(Some(("hw.toml", file)), environment, &args).unwrap();
        assert_eq!(config.http_addr.port(), 3);
        assert_eq!(config.origin("http.addr"), Origin::Flag("--http-addr".into()));
        assert_eq!(config.sql_max_params, 7);
        assert_eq!(config.user_shards, 2);
        assert_eq!(config.http_max_body, Bytes(1 << 20));
        assert_eq!(config.sql_max_text, Bytes(2 << 20));
        assert_eq!(config.origin("http.max_body"), Origin::File("hw.toml".into()));
        assert_eq!(config.origin("cores"), Origin::Default);
    }

    #[test]
    fn unknown_names_are_refused_with_what_was_meant() {
        let refuse = |file: &str, environment: &[(&str, &str)], set: &[&str]| {
            let args = Args { set: set.iter().map(ToString::to_string).collect(), ..Args::default() };
            resolve(Some(("hw.toml", file)), variables(environment), &args).unwrap_err().to_string()
        };
        assert_eq!(
            refuse("[http]\nadr = 'x'", &[], &[]),
            "unknown setting http.adr in hw.toml; did you mean http.addr?"
        );
        assert_eq!(
            refuse("max_body = 'x'", &[], &[]),
            "unknown setting max_body in hw.toml; did you mean http.max_body?"
        );
        assert_eq!(
            refuse("", &[("HIGHWATER_HTTP_ADR", "x")], &[]),
            "unknown setting HIGHWATER_HTTP_ADR in the environment; did you mean HIGHWATER_HTTP_ADDR?"
        );
        assert_eq!(
            refuse("", &[], &["zebra=1"]),
            "unknown setting zebra in --set zebra; highwaterd --print-config lists all settings"
        );
    }

    #[test]
    fn the_shells_variables_are_left_alone() {
        assert!(
            resolve(None, variables(&[("HIGHWATER_URL", "x"), ("HIGHWATER_PASSWORD", "y")]), &Args::default()).is_ok()
        );
    }

    #[test]
    fn a_bad_value_says_where_what_and_how_to_mend_it() {
        let refuse = |args: Args| resolve(None, [], &args).unwrap_err().to_string();
        assert_eq!(
            refuse(Args { http_addr: Some("nowhere".into()), ..Args::default() }),
            "--http-addr: 'nowhere' is no address; give ip:port, for example 127.0.0.1:2900, 0.0.0.0:2900 or [::]:2900"
        );
        assert_eq!(
            refuse(Args { user_shards: Some("0".into()), ..Args::default() }),
            "--user-shards: '0' is out of range; give 1 to 16384"
        );
        assert_eq!(
            refuse(Args { set: vec!["http.max_body=5B".into()], ..Args::default() }),
            "--set http.max_body: '5B' is out of range; give 64KiB to 1GiB"
        );
        assert!(
            resolve(Some(("hw.toml", "cores = [")), [], &Args::default())
                .unwrap_err()
                .to_string()
                .starts_with("hw.toml is not valid TOML")
        );
        assert!(
            resolve(Some(("hw.toml", "http = 5")), [], &Args::default())
                .unwrap_err()
                .to_string()
                .starts_with("unknown setting http")
        );
    }

    #[test]
    fn what_is_printed_is_a_file_that_gives_the_same_values() {
        let args = Args { cores: Some("1-1".into()), root_password: Some("hunter2".into()), ..Args::default() };
        let config = resolve(None, [], &args).unwrap();
        let printed = print(&config);
        assert!(!printed.contains("hunter2"));
        let secrets: Vec<_> =
            printed.lines().filter(|line| line.contains("password") || line.contains("secret =")).collect();
        let shown = ["# root_password = \"***\"", "cluster.secret = \"\""];
        let shown: Vec<_> = shown
            .into_iter()
            .zip(["--root-password", "default"])
            .map(|(line, who)| format!("{line:<48} # {who}"))
            .collect();
        assert_eq!(secrets, shown);
        assert!(printed.contains("# --cores"));
        let again = resolve(Some(("printed", &printed)), [], &Args::default()).unwrap();
        let values = |config: &Config| {
            config.settings().into_iter().map(|setting| (setting.name, setting.value)).collect::<Vec<_>>()
        };
        assert_eq!(values(&again), values(&config));
    }

    #[test]
    fn a_list_in_the_file_is_a_list_of_cpus() {
        let config = resolve(Some(("f", "cores = [3]")), [], &Args::default()).unwrap();
        assert_eq!(config.cores, Cores::List(vec![3]));
    }
}
