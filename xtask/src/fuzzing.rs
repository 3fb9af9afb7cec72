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

/// The page with the last run of each target, a row each between these lines.
const PAGE: &str = "docs/internals/fuzzing.md";
const BEGIN: &str = "<!-- runs: begin -->";
const END: &str = "<!-- runs: end -->";

/// What a target has done without a crash.
struct Done {
    target: String,
    executions: u64,
    seconds: u64,
    /// Edges of the program that were taken, and inputs that were kept for them.
    edges: u64,
    inputs: u64,
}

impl Done {
    fn row(&self) -> String {
        let Self { target, executions, seconds, edges, inputs } = self;
        format!("| `{target}` | {seconds} | {executions} | {edges} | {inputs} | no crash |")
    }
}

/// `cargo xtask fuzz [--seconds N] [--write] [TARGET...]`.
pub fn command(args: &[String]) -> Result<(), String> {
    let mut seconds = 120_u64;
    let mut wanted = Vec::new();
    let mut write = false;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--seconds" => {
                seconds = rest.next().and_then(|number| number.parse().ok()).ok_or("--seconds takes a number")?;
            }
            "--write" => write = true,
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
        let run = run(&target, seconds)?;
        if write {
            write_row(&run)?;
        }
        done.push(run);
    }
    println!("\n{:<24} {:>14} {:>8} {:>12}", "target", "executions", "seconds", "per second");
    for Done { target, executions, seconds, .. } in done {
        println!("{target:<24} {executions:>14} {seconds:>8} {:>12}", executions / seconds.max(1));
    }
    Ok(())
}

/// Puts a target's row into the page, in place of the one from before.
fn write_row(done: &Done) -> Result<(), String> {
    let text = std::fs::read_to_string(PAGE).map_err(|error| format!("{PAGE}: {error}"))?;
    let missing = || format!("{PAGE}: no lines '{BEGIN}' and '{END}' to write between");
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (table, after) = rest.split_once(END).ok_or_else(missing)?;
    let own = format!("| `{}` |", done.target);
    let mut rows: Vec<String> =
        table.lines().filter(|line| line.starts_with("| `") && !line.starts_with(&own)).map(str::to_owned).collect();
    rows.push(done.row());
    rows.sort();
    let head = "| target | seconds | executions | edges reached | inputs kept | result |\n|---|---|---|---|---|---|";
    let page = format!("{before}{BEGIN}\n\n{head}\n{}\n\n{END}{after}", rows.join("\n"));
    std::fs::write(PAGE, page).map_err(|error| format!("{PAGE}: {error}"))
}

/// The number behind a word of libFuzzer's status line, as in "cov: 12 ft: 34 corp: 5/6Kb".
fn figure(line: &str, word: &str) -> u64 {
    let behind = line.split_once(word).map_or("", |(_, rest)| rest.trim_start());
    behind
        .split(|character: char| !character.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
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
    let mut done = Done { target: target.to_owned(), executions: 0, seconds, edges: 0, inputs: 0 };
    let said = child.stderr.take().ok_or("cargo fuzz gave no output")?;
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            done.executions = count.trim().parse().unwrap_or(0);
        }
        if line.starts_with('#') && line.contains("DONE") {
            (done.edges, done.inputs) = (figure(&line, "cov:"), figure(&line, "corp:"));
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
