//! Coverage-guided fuzzing: every target of `fuzz/`, one after the other, with what each has done.
//!
//! Works on the stable toolchain: coverage alone needs no sanitizer. The development profile is used on purpose, for its overflow
//! checks and debug assertions; the engine is optimised in it. What a target finds interesting stays in `fuzz/corpus/`
//! (not checked in); it starts from `fuzz/corpus-seeds/`, small inputs that the engine wrote.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// How the targets are built.
const BUILD: &[&str] = &["--dev", "--sanitizer", "none", "--features", "link"];
const TARGETS: &str = "fuzz/fuzz_targets";

/// What a target has done.
struct Done {
    target: String,
    executions: u64,
    seconds: u64,
}

/// `cargo xtask fuzz [--seconds N] [TARGET...]`.
pub fn command(args: &[String]) -> Result<(), String> {
    let mut seconds = 120_u64;
    let mut wanted = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--seconds" => {
                seconds = rest.next().and_then(|number| number.parse().ok()).ok_or("--seconds takes a number")?;
            }
            target => wanted.push(target.to_owned()),
        }
    }
    let targets = targets(&wanted)?;
    let installed = cargo().args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !installed.is_ok_and(|status| status.success()) {
        return Err("cargo-fuzz is missing; cargo install cargo-fuzz".into());
    }
    let mut done = Vec::new();
    for target in targets {
        println!("\n=== {target}");
        done.push(run(&target, seconds)?);
    }
    println!("\n{:<24} {:>14} {:>8} {:>12}", "target", "executions", "seconds", "per second");
    for Done { target, executions, seconds } in done {
        println!("{target:<24} {executions:>14} {seconds:>8} {:>12}", executions / seconds.max(1));
    }
    Ok(())
}

fn targets(wanted: &[String]) -> Result<Vec<String>, String> {
    let folder = std::fs::read_dir(TARGETS).map_err(|error| format!("{TARGETS}: {error}"))?;
    let mut targets: Vec<String> =
        folder.filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned)).collect();
    targets.sort();
    if let Some(unknown) = wanted.iter().find(|wanted| !targets.contains(wanted)) {
        return Err(format!("no fuzz target {unknown}; there are: {}", targets.join(", ")));
    }
    targets.retain(|target| wanted.is_empty() || wanted.contains(target));
    Ok(targets)
}

fn cargo() -> Command {
    Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
}

/// Runs one target; what it says goes to standard error, but for the progress of every new input.
fn run(target: &str, seconds: u64) -> Result<Done, String> {
    let corpus = format!("fuzz/corpus/{target}");
    std::fs::create_dir_all(&corpus).map_err(|error| format!("{corpus}: {error}"))?;
    let mut command = cargo();
    command.args(["fuzz", "run"]).args(BUILD).arg(target).arg(&corpus);
    let seeds = format!("fuzz/corpus-seeds/{target}");
    if Path::new(&seeds).is_dir() {
        command.arg(&seeds);
    }
    command.args(["--", &format!("-max_total_time={seconds}"), "-print_final_stats=1"]);
    let mut child = command.stderr(Stdio::piped()).spawn().map_err(|error| format!("cargo fuzz: {error}"))?;
    let mut done = Done { target: target.to_owned(), executions: 0, seconds };
    let said = child.stderr.take().ok_or("cargo fuzz gave no output")?;
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            done.executions = count.trim().parse().unwrap_or(0);
        }
        // "Done 123 runs in 121 second(s)"
        if let Some(rest) = line.strip_prefix("Done ") {
            done.seconds =
                rest.split(" in ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(seconds);
        }
        let is_progress = line.starts_with('#') || line.starts_with("\tNEW_FUNC") || line.starts_with("NEW_FUNC");
        if !is_progress {
            eprintln!("{line}");
        }
    }
    let status = child.wait().map_err(|error| format!("cargo fuzz: {error}"))?;
    if status.success() {
        Ok(done)
    } else {
        Err(format!("target {target} ended with {status}; the input is in fuzz/artifacts/{target}"))
    }
}
