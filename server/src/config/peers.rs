//! The nodes of a cluster as a setting: `1=10.0.0.1:2910,2=db-2.local:2910,3=[fd00::3]:2910`.
//!
//! Whether a name resolves, and whether this node is among them, is decided when a cluster is set up.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::units::SettingValue;

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port; not 0.
    pub port: u16,
}

/// Where each node of a cluster is reached by the others; empty for a node that is a cluster of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(pub BTreeMap<u64, HostPort>);

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl HostPort {
    /// Reads `host:port`, `1.2.3.4:port` or `[::1]:port`; `None` for anything else, and for port 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let host = rest.strip_suffix(']')?;
                text.parse::<SocketAddr>().ok()?;
                host
            }
            None => host,
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_host = !host.is_empty() && (text.starts_with('[') || host.chars().all(is_name));
        is_host.then(|| Self { host: host.to_owned(), port })
    }
}

/// Members of a cluster that a new node asks to be let in: `10.0.0.1:2910,db-2.local:2910`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeds(pub Vec<HostPort>);

impl SettingValue for Seeds {
    const KIND: &'static str = "addresses";
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let seeds = parts.map(|part| {
            let example =
                "give HOST:PORT of one or more members (their RPC addresses), for example 10.0.0.1:2910,10.0.0.2:2910";
            HostPort::parse(part).ok_or_else(|| format!("has no host and port in '{part}'; {example}"))
        });
        seeds.collect::<Result<_, _>>().map(Self)
    }
    fn show(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

impl SettingValue for Peers {
    const KIND: &'static str = "nodes";
    fn parse(text: &str) -> Result<Self, String> {
        let mut peers = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let example =
                "give ID=HOST:PORT for every node, for example 1=10.0.0.1:2910,2=10.0.0.2:2910,3=10.0.0.3:2910";
            let (id, place) = part.split_once('=').ok_or_else(|| format!("has no '=' in '{part}'; {example}"))?;
            let id: u64 = id.trim().parse().map_err(|_| format!("has no node id before '=' in '{part}'; {example}"))?;
            if id == 0 {
                return Err("names node 0; node ids begin with 1".into());
            }
            let place = HostPort::parse(place.trim())
                .ok_or_else(|| format!("has no host and port behind '=' in '{part}'; {example}"))?;
            if peers.values().any(|known| *known == place) {
                return Err(format!("names {place} twice; every node has an address of its own"));
            }
            if peers.insert(id, place).is_some() {
                return Err(format!("names node {id} twice; every node has an id of its own"));
            }
        }
        Ok(Self(peers))
    }
    fn show(&self) -> String {
        self.0.iter().map(|(id, place)| format!("{id}={place}")).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nodes_are_shown_as_they_read_back() {
        for (text, shown) in [
            ("", ""),
            (" 2 = b.local:2910, 1=10.0.0.1:1 ,", "1=10.0.0.1:1,2=b.local:2910"),
            ("7=[::1]:2910", "7=[::1]:2910"),
        ] {
            let peers = Peers::parse(text).unwrap();
            assert_eq!(peers.show(), shown);
            assert_eq!(Peers::parse(shown).unwrap(), peers);
        }
    }

    #[test]
    fn a_mistake_is_named_with_what_would_be_right() {
        for (text, said) in [
            ("10.0.0.1:2910", "has no '=' in '10.0.0.1:2910'; give ID=HOST:PORT"),
            ("x=a:1", "has no node id before '='"),
            ("0=a:1", "node ids begin with 1"),
            ("1=a", "has no host and port behind '=' in '1=a'"),
            ("1=a:0", "has no host and port"),
            ("1=:1", "has no host and port"),
            ("1=::1:1", "has no host and port"),
            ("1=[x]:1", "has no host and port"),
            ("1=a b:1", "has no host and port"),
            ("1=a:1,1=b:1", "names node 1 twice"),
            ("1=a:1,2=a:1", "names a:1 twice"),
        ] {
            let refused = Peers::parse(text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}
