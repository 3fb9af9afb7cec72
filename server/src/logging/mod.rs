//! Log lines on standard error: for people on a terminal, JSON otherwise. The newest are kept for `system.server_logs`.

pub(crate) mod kept;

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Config, LogFormat, SettingValue as _};

/// Starts logging for this process; a second call changes nothing.
pub fn start(config: &Config) {
    let level = config.log_level.show();
    // Libraries speak up from one level less: hyper's debug lines are not ours.
    let filter = EnvFilter::new(format!("warn,highwater={level},highwaterd={level},{}", ours(&level)));
    let is_json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    // A line that cannot be written would be complained of on standard error, which panics when that is what is closed.
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = if is_json { lines.json().flatten_event(true).boxed() } else { lines.compact().boxed() };
    // An error means that a subscriber is there already.
    let _ = tracing_subscriber::registry().with(filter).with(kept::Keeping).with(lines).try_init();
}

fn ours(level: &str) -> String {
    let crates = ["server", "net", "state", "raft", "engine", "runtime", "sql"];
    crates.map(|name| format!("highwater_{name}={level}")).join(",")
}
