//! What the simulator prints, and who reads it.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

#[test]
fn whoever_reads_a_plan_may_stop_reading() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut plan = Command::new(env!("CARGO_BIN_EXE_highwater-sim"));
    let ended = plan.args(["plan", "--seed", "1"]).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()), (Some(141), ""));
}
