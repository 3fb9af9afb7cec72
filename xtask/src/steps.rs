//! The steps of `cargo xtask test`, in order, and the longer commands beside it.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// How the simulation is built: the same crates with madsim under them, in a target folder of its own.
const MADSIM: &str = "target.'cfg(all())'.rustflags=['--cfg=madsim']";
/// The target folder of the simulation build.
const MADSIM_TARGET: &str = "target/sim";
/// Packages that are built for the simulation.
const SIMULATED: &[&str] = &["-p", "highwater-runtime", "-p", "highwater-sim"];

/// Runs everything that must hold on every commit.
pub fn test() -> Result<(), String> {
    let started = Instant::now();
    step("formatting", cargo(&["fmt", "--all", "--check"]))?;
    step("one place for the backends", backend_switches)?;
    step("the book's links", crate::book::check)?;
    step("the book's layouts", || crate::layouts::check(Path::new(".")))?;
    step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("tests", cargo(&["test", "--lib", "--bins", "--tests"]))?;
    step("the load generator", cargo(&["test", "-p", "highwater-bench", "--bins", "--tests"]))?;
    step("the Raft state machine alone", crate::ring0::slice)?;
    step("the store on a simulated disk", crate::ring1::slice)?;
    step(
        "lints, simulation",
        simulation(
            &["clippy", "--lib", "--bins", "--tests", "--features", "highwater-sim/mutants"],
            &["--", "-D", "warnings"],
        ),
    )?;
    step(
        "tests, simulation",
        simulation(&["test", "--lib", "--bins", "--tests", "--features", "highwater-sim/mutants"], &[]),
    )?;
    step("simulated seeds", crate::seeds::slice)?;
    println!("\nall steps passed in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Builds the simulator and gives its path.
pub fn build_simulator() -> Result<std::path::PathBuf, String> {
    simulation(&["build", "--bin", "highwater-sim", "--features", "highwater-sim/mutants"], &[])()?;
    Ok(Path::new(MADSIM_TARGET).join("debug/highwater-sim"))
}

/// Real nodes under load and faults.
pub fn ring3(args: &[String]) -> Result<(), String> {
    cargo(&["build", "--release", "-p", "highwater-server", "--bin", "highwaterd"])()?;
    let build = ["build", "-p", "highwater-sim", "--bin", "highwater-ring3", "--no-default-features"];
    cargo(&[&build[..], &["--features", "processes"]].concat())()?;
    run("target/debug/highwater-ring3", &args.iter().map(String::as_str).collect::<Vec<_>>())
}

/// `cfg(madsim)` may stand in three files at most: one code base, not two.
fn backend_switches() -> Result<(), String> {
    let output = Command::new("git")
        .args(["grep", "-lE", r"cfg(_attr)?\(.*madsim", "--", "*.rs"])
        .output()
        .map_err(|error| format!("git grep: {error}"))?;
    let files: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|file| !file.starts_with("xtask/"))
        .map(str::to_owned)
        .collect();
    if files.len() > 3 {
        return Err(format!(
            "cfg(madsim) stands in {} files, at most three may know the backend: {}",
            files.len(),
            files.join(", ")
        ));
    }
    println!("cfg(madsim) stands in: {}", files.join(", "));
    Ok(())
}

fn step(name: &str, action: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("\n=== {name}");
    let started = Instant::now();
    action().map_err(|error| format!("step '{name}' failed: {error}"))?;
    println!("=== {name}: {} s", started.elapsed().as_secs());
    Ok(())
}

pub fn cargo<'a>(args: &'a [&'a str]) -> impl FnOnce() -> Result<(), String> + 'a {
    move || run(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args)
}

fn simulation<'a>(before: &'a [&'a str], after: &'a [&'a str]) -> impl FnOnce() -> Result<(), String> + 'a {
    move || {
        let (verb, options) = before.split_first().ok_or("no cargo verb")?;
        let mut args = vec![*verb, "--config", MADSIM, "--target-dir", MADSIM_TARGET];
        args.extend_from_slice(SIMULATED);
        args.extend_from_slice(options);
        args.extend_from_slice(after);
        cargo(&args)()
    }
}

pub fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(args).status().map_err(|error| format!("{program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} {} ended with {status}", args.join(" "))) }
}
