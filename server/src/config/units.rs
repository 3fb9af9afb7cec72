//! Values with units: how a setting's text is read and shown.
//!
//! Invariant: `parse(show(value)) == value` for every value of every kind.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A kind of setting value.
pub trait SettingValue: Sized {
    /// The kind's name in the documentation.
    const KIND: &'static str;
    /// Reads the text of a flag, an environment variable or a file.
    ///
    /// # Errors
    /// What is wrong with the text and what would be right, as the end of a sentence.
    fn parse(text: &str) -> Result<Self, String>;
    /// The text that reads back as this value.
    fn show(&self) -> String;
    /// The value as a number for the range check; `None` for kinds without one.
    fn magnitude(&self) -> Option<u64> {
        None
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// As a length in memory.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub u64);

impl Period {
    /// In microseconds.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// In whole seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// Who may read the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Nobody.
    Off,
    /// Anyone on this machine; from elsewhere with a login of role dba or system.
    Loopback,
    /// With a login of role dba or system.
    Login,
    /// Anyone who reaches the port.
    All,
}

/// Who may set up a new cluster over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupAccess {
    /// Nobody: root has a password from the first start on.
    Off,
    /// Anyone on this machine, as long as root has no password.
    Loopback,
    /// Anyone who reaches the port, as long as root has no password.
    All,
}

/// Origins whose pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// None but the server's own.
    None,
    /// All.
    Any,
    /// These, in lower case (`https://app.example.org`).
    These(Vec<String>),
}

/// Which CPUs run an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// One executor on every CPU that this process may use.
    Auto,
    /// This many executors, on the first CPUs that this process may use.
    Count(u16),
    /// One executor on each of these CPUs, in this order.
    List(Vec<u16>),
}

/// A number, or the server's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCount {
    /// The server chooses.
    Auto,
    /// This many.
    Count(u32),
}

/// A secret text: never shown, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Option<String>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Secret(given)" } else { "Secret(none)" })
    }
}

/// A text, which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(pub String);

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the level of that name")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

const SIZES: [(&str, u64); 8] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
    ("B", 1),
];

const PERIODS: [(&str, u64); 7] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

fn with_unit(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.replace('_', "").parse().ok()?;
    let unit = unit.trim();
    let factor = if unit.is_empty() { bare? } else { units.iter().find(|(name, _)| *name == unit)?.1 };
    number.checked_mul(factor)
}

/// The largest unit of which the value is a whole multiple; units stand from large to small.
fn in_units(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    match units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)) {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => format!("{value}{smallest}"),
    }
}

impl SettingValue for Bytes {
    const KIND: &'static str = "size";
    fn parse(text: &str) -> Result<Self, String> {
        with_unit(text, &SIZES, Some(1))
            .map(Self)
            .ok_or_else(|| "is no size; give a whole number and a unit, for example 64MiB, 512KiB or 4096B".into())
    }
    fn show(&self) -> String {
        in_units(self.0, &SIZES[..3], "B")
    }
    fn magnitude(&self) -> Option<u64> {
        Some(self.0)
    }
}

impl SettingValue for Period {
    const KIND: &'static str = "duration";
    fn parse(text: &str) -> Result<Self, String> {
        with_unit(text, &PERIODS, None).map(Self).ok_or_else(|| {
            "is no duration; give a whole number and a unit, for example 500ms, 30s, 15min or 24h".into()
        })
    }
    fn show(&self) -> String {
        in_units(self.0, &PERIODS, "us")
    }
    fn magnitude(&self) -> Option<u64> {
        Some(self.0)
    }
}

impl SettingValue for u32 {
    const KIND: &'static str = "number";
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().replace('_', "").parse().map_err(|_| "is no whole number".into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn magnitude(&self) -> Option<u64> {
        Some(u64::from(*self))
    }
}

impl SettingValue for u64 {
    const KIND: &'static str = "number";
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().replace('_', "").parse().map_err(|_| "is no whole number".into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn magnitude(&self) -> Option<u64> {
        Some(*self)
    }
}

impl SettingValue for Text {
    const KIND: &'static str = "text";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.trim().to_owned()))
    }
    fn show(&self) -> String {
        self.0.clone()
    }
}

impl SettingValue for Option<PathBuf> {
    const KIND: &'static str = "path";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(if text.is_empty() { None } else { Some(PathBuf::from(text)) })
    }
    fn show(&self) -> String {
        self.as_ref().map(PathBuf::show).unwrap_or_default()
    }
}

impl SettingValue for SocketAddr {
    const KIND: &'static str = "address";
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        numeric
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map_err(|_| "is no address; give ip:port, for example 127.0.0.1:2900, 0.0.0.0:2900 or [::]:2900".into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl SettingValue for PathBuf {
    const KIND: &'static str = "path";
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("is empty; give a path".into()) } else { Ok(Self::from(text)) }
    }
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl SettingValue for Secret {
    const KIND: &'static str = "secret";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(if text.is_empty() { None } else { Some(text.to_owned()) }))
    }
    fn show(&self) -> String {
        if self.0.is_some() { "(given)".into() } else { String::new() }
    }
}

impl SettingValue for AutoCount {
    const KIND: &'static str = "number or auto";
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            number => number.parse().map(Self::Count).map_err(|_| "is neither a whole number nor the word auto".into()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".into(),
            Self::Count(count) => count.to_string(),
        }
    }
    fn magnitude(&self) -> Option<u64> {
        match self {
            Self::Auto => None,
            Self::Count(count) => Some(u64::from(*count)),
        }
    }
}

impl SettingValue for Cores {
    const KIND: &'static str = "number, CPU list or auto";
    fn parse(text: &str) -> Result<Self, String> {
        let advice = || "is neither a number of cores (4) nor a list of CPUs (0,2-5) nor the word auto".to_owned();
        let text = text.trim();
        if text == "auto" {
            return Ok(Self::Auto);
        }
        if !text.contains([',', '-']) {
            return match text.parse() {
                Ok(0) => Err("asks for no core at all; give at least 1".into()),
                Ok(count) => Ok(Self::Count(count)),
                Err(_) => Err(advice()),
            };
        }
        let mut list = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: u16 = first.trim().parse().map_err(|_| advice())?;
            let last: u16 = last.trim().parse().map_err(|_| advice())?;
            if first > last {
                return Err(format!("has a range that runs backwards: {part}"));
            }
            list.extend(first..=last);
        }
        if list.is_empty() {
            return Err(advice());
        }
        let mut sorted = list.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != list.len() {
            return Err("names a CPU twice".into());
        }
        Ok(Self::List(list))
    }
    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".into(),
            Self::Count(count) => count.to_string(),
            Self::List(list) => {
                // A list of one keeps its comma, so that it does not read back as a count.
                let text = list.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
                if list.len() == 1 { format!("{text},") } else { text }
            }
        }
    }
}

impl SettingValue for MetricsAccess {
    const KIND: &'static str = "access";
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "loopback" => Ok(Self::Loopback),
            "login" => Ok(Self::Login),
            "all" => Ok(Self::All),
            _ => Err("says not who may read; give loopback, login, all or off".into()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Off => "off",
            Self::Loopback => "loopback",
            Self::Login => "login",
            Self::All => "all",
        }
        .into()
    }
}

impl SettingValue for SetupAccess {
    const KIND: &'static str = "access";
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "loopback" => Ok(Self::Loopback),
            "all" => Ok(Self::All),
            _ => Err("says not who may set up; give off, loopback or all".into()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Off => "off",
            Self::Loopback => "loopback",
            Self::All => "all",
        }
        .into()
    }
}

impl SettingValue for Origins {
    const KIND: &'static str = "origins";
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text {
            "" => return Ok(Self::None),
            "*" => return Ok(Self::Any),
            _ => {}
        }
        let origin = |text: &str| {
            let origin = text.trim().to_ascii_lowercase();
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ', '@']));
            if is_origin {
                return Ok(origin);
            }
            Err("is no list of origins; give https://app.example.org,http://localhost:3000 or * (no paths)".to_owned())
        };
        text.split(',').map(origin).collect::<Result<_, _>>().map(Self::These)
    }
    fn show(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Any => "*".into(),
            Self::These(list) => list.join(","),
        }
    }
}

impl SettingValue for LogLevel {
    const KIND: &'static str = "level";
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "error" => Ok(Self::Error),
            "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("is no log level; give error, warn, info, debug or trace".into()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
        .into()
    }
}

impl SettingValue for LogFormat {
    const KIND: &'static str = "format";
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("is no log format; give auto, human or json".into()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn round_trip<T: SettingValue + PartialEq + std::fmt::Debug>(text: &str) -> String {
        let value = T::parse(text).unwrap();
        let shown = value.show();
        assert_eq!(T::parse(&shown).unwrap(), value, "{text} is shown as {shown}");
        shown
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_value() {
        assert_eq!(round_trip::<Bytes>("65536KiB"), "64MiB");
        assert_eq!(round_trip::<Bytes>("4097"), "4097B");
        assert_eq!(round_trip::<Bytes>("0"), "0B");
        assert_eq!(round_trip::<Bytes>("1MB"), "1000000B");
        assert_eq!(round_trip::<Period>("900s"), "15min");
        assert_eq!(round_trip::<Period>("1500 ms"), "1500ms");
        assert_eq!(round_trip::<Period>("0s"), "0us");
        assert_eq!(round_trip::<Cores>("0,2-4"), "0,2,3,4");
        assert_eq!(round_trip::<Cores>("3-3"), "3,");
        assert_eq!(round_trip::<Cores>("4"), "4");
        assert_eq!(round_trip::<AutoCount>("auto"), "auto");
        assert_eq!(round_trip::<SocketAddr>("localhost:80"), "127.0.0.1:80");
        assert_eq!(round_trip::<LogLevel>("WARN"), "warn");
        assert_eq!(round_trip::<Origins>("https://A.b, http://localhost:1"), "https://a.b,http://localhost:1");
        assert_eq!(round_trip::<Origins>(""), "");
    }

    #[test]
    fn nonsense_is_refused_with_advice() {
        for text in ["", "x", "-1s", "5", "5 parsecs", "99999999999999999999s", "18446744073709551615d"] {
            assert!(Period::parse(text).unwrap_err().contains("500ms"), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "1TiBs"] {
            assert!(Bytes::parse(text).unwrap_err().contains("64MiB"), "{text}");
        }
        for text in ["0", "5-2", "1,1", "a", ",", "-"] {
            assert!(Cores::parse(text).is_err(), "{text}");
        }
        for text in ["a.b", "https://", "https://a/b", "https://a,,", "*,https://a", "https://*.a"] {
            assert!(Origins::parse(text).is_err(), "{text}");
        }
        assert!(SocketAddr::parse("2900").is_err());
        assert!(SocketAddr::parse("example.org:2900").is_err());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::parse("hunter2").unwrap();
        assert!(!secret.show().contains("hunter2"));
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
