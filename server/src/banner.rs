//! What a started server says of itself, once, on standard output.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use highwater_state::placement::Layout;

use crate::first_start::{PASSWORD_FILE, RootPassword};

/// The facts.
#[derive(Clone, Debug)]
pub struct Banner<'a> {
    /// Version of the server.
    pub version: &'a str,
    /// Where HTTP listens.
    pub http_addr: SocketAddr,
    /// It speaks TLS.
    pub is_secure: bool,
    /// The node's place in its cluster, and where it listens for the others; none for a cluster of one.
    pub cluster: Option<&'a str>,
    /// The data folder, absolute.
    pub data_dir: &'a Path,
    /// Groups and stores.
    pub layout: Layout,
    /// The CPU of each core.
    pub cpus: &'a [usize],
    /// This process.
    pub pid: u32,
    /// Name and release of the kernel.
    pub kernel: &'a str,
    /// Where settings came from.
    pub config: &'a str,
    /// Root's password, shown only if this start made it.
    pub root_password: &'a RootPassword,
}

impl std::fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Layout { user_shards, shared_shards, stores } = self.layout;
        let scheme = if self.is_secure { "https" } else { "http" };
        let url = url(self.http_addr, self.is_secure);
        let data_dir = self.data_dir.display();
        writeln!(f, "\n  Highwater {} is ready\n", self.version)?;
        let mut row = |name: &str, text: &str| writeln!(f, "  {name:<10}{text}");
        row("HTTP", &format!("{scheme}://{}", self.http_addr))?;
        if let Some(place) = self.cluster {
            row("cluster", place)?;
        }
        row("data", &format!("{data_dir}"))?;
        row(
            "groups",
            &format!("1 meta, {user_shards} user shards, {shared_shards} shared shards, in {stores} stores"),
        )?;
        let mut cores = String::new();
        for (core, cpu) in self.cpus.iter().enumerate() {
            let separator = if core == 0 { "" } else { ", " };
            write!(cores, "{separator}core {core} on CPU {cpu}")?;
        }
        row("cores", &cores)?;
        row("process", &format!("{} on {}", self.pid, self.kernel))?;
        row("settings", self.config)?;
        match self.root_password {
            RootPassword::Made(password) => {
                row("root", &format!("password {password} (shown once, kept in {data_dir}/{PASSWORD_FILE})"))?;
            }
            RootPassword::Kept(_) => row("root", &format!("password in {data_dir}/{PASSWORD_FILE}"))?,
            RootPassword::AtSetup => row("root", &format!("has no password yet: POST {url}/v1/api/auth/setup"))?,
            RootPassword::Given(_) | RootPassword::Shared(_) | RootPassword::Unneeded => {}
        }
        row("connect", &format!("highwater --url {url}"))?;
        row("stop", "Ctrl-C or SIGTERM; a second one stops at once")
    }
}

/// The URL by which a client on this machine reaches an address.
#[must_use]
pub fn url(addr: SocketAddr, is_secure: bool) -> String {
    let scheme = if is_secure { "https" } else { "http" };
    let addr = if addr.ip().is_unspecified() { SocketAddr::new([127, 0, 0, 1].into(), addr.port()) } else { addr };
    format!("{scheme}://{addr}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn banner(root_password: &RootPassword) -> String {
        Banner {
            version: "0.1.0",
            http_addr: "127.0.0.1:2900".parse().unwrap(),
            is_secure: false,
            cluster: Some("node 2 of nodes 1, 2, 3, RPC on 127.0.0.1:2912"),
            data_dir: Path::new("/data"),
            layout: Layout { user_shards: 16, shared_shards: 8, stores: 2 },
            cpus: &[0, 3],
            pid: 77,
            kernel: "Linux 6.1.0",
            config: "defaults",
            root_password,
        }
        .to_string()
    }

    #[test]
    fn the_banner_says_where_everything_is() {
        let text = banner(&RootPassword::Unneeded);
        for fact in [
            "http://127.0.0.1:2900",
            "/data",
            "node 2 of nodes 1, 2, 3",
            "16 user shards",
            "core 0 on CPU 0, core 1 on CPU 3",
            "77",
            "Linux 6.1.0",
        ] {
            assert!(text.contains(fact), "{fact} is missing in {text}");
        }
    }

    #[test]
    fn only_a_password_of_this_start_is_shown() {
        assert!(banner(&RootPassword::Made("sesame".into())).contains("sesame"));
        for other in [RootPassword::Kept("sesame".into()), RootPassword::Given("sesame".into())] {
            assert!(!banner(&other).contains("sesame"));
        }
    }
}
