//! `cargo xtask profiled`: highwaterd laid out by a profile of itself at work (profile-guided optimisation).
//!
//! An instrumented build serves a cluster of three under each workload of `highwater-load`, over both kinds of connections; the compiler then
//! knows which branches are taken and which functions are hot. Needs the component `llvm-tools` of the toolchain.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::steps::{cargo, run};

/// Folder of both builds and of the profile.
const FOLDER: &str = "target/profiled";
/// Ports of the trained cluster's first node, beside those that people use.
const PORTS: [&str; 2] = ["22901", "22911"];
const PASSWORD: &str = "only for training";
/// What the instrumented cluster does, by the users whose rows they are.
const WORKLOADS: [(&str, &[&str]); 2] = [
    (
        "1",
        &[
            "put --connections 64",
            "put --connections 64 --streams 16",
            "update --connections 64 --streams 8",
            "update --connections 1",
            "select --connections 64",
            "select --connections 64 --streams 16",
        ],
    ),
    (
        "8",
        &[
            "insert --connections 32",
            "mixed --connections 32 --mix select=5,update=3,put=1,insert=1",
            "consume --connections 4 --producers 8",
        ],
    ),
];

/// Builds it.
pub fn command(args: &[String]) -> Result<(), String> {
    if let Some(arg) = args.first() {
        return Err(format!("profiled: no option '{arg}'"));
    }
    let started = Instant::now();
    let host = host()?;
    let merger = tool(&host, "llvm-profdata")?;
    let folder = std::env::current_dir().map_err(|error| format!("the current folder: {error}"))?.join(FOLDER);
    let raw = folder.join("raw");
    let merged = folder.join("merged.profdata");
    let _ = std::fs::remove_dir_all(&raw);
    cargo(&["build", "--release", "-p", "highwater-bench", "--bin", "highwater-load"])()?;
    let instrumented = build(&host, &folder.join("instrumented"), &format!("-Cprofile-generate={}", raw.display()))?;
    train(&instrumented)?;
    let status = Command::new(&merger)
        .args([OsStr::new("merge"), OsStr::new("-o"), merged.as_os_str(), raw.as_os_str()])
        .status()
        .map_err(|error| format!("{}: {error}", merger.display()))?;
    if !status.success() {
        return Err(format!("{} ended with {status}", merger.display()));
    }
    let built = build(&host, &folder.join("optimised"), &format!("-Cprofile-use={}", merged.display()))?;
    println!("\n{} is built by a profile of itself, in {} s", built.display(), started.elapsed().as_secs());
    Ok(())
}

/// The triple of this machine. Flags of the compiler that are given with it do not reach build scripts.
fn host() -> Result<String, String> {
    let said = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// A program of the toolchain's component `llvm-tools`.
fn tool(host: &str, name: &str) -> Result<PathBuf, String> {
    let root =
        Command::new("rustc").args(["--print", "sysroot"]).output().map_err(|error| format!("rustc: {error}"))?;
    let root = String::from_utf8_lossy(&root.stdout).trim().to_owned();
    let path = Path::new(&root).join("lib/rustlib").join(host).join("bin").join(name);
    if path.exists() { Ok(path) } else { Err(format!("{name} is missing; get it by: rustup component add llvm-tools")) }
}

/// Builds highwaterd with a flag of the compiler and gives its path.
fn build(host: &str, target: &Path, flag: &str) -> Result<PathBuf, String> {
    println!("\n=== highwaterd with {flag}");
    let target_dir = target.display().to_string();
    let flags = format!("target.{host}.rustflags=['{flag}']");
    cargo(&[
        "build",
        "--release",
        "--config",
        &flags,
        "--target",
        host,
        "--target-dir",
        &target_dir,
        "-p",
        "highwater-server",
        "--bin",
        "highwaterd",
    ])()?;
    Ok(target.join(host).join("release/highwaterd"))
}

/// A cluster under load; its nodes write their profiles when they end.
fn train(highwaterd: &Path) -> Result<(), String> {
    println!("\n=== training");
    let data = Path::new(FOLDER).join("data");
    let _ = std::fs::remove_dir_all(&data);
    let mut cluster = Cluster::start(highwaterd, &data)?;
    for (users, workloads) in WORKLOADS {
        let load = |arguments: &str| {
            let mut all = vec!["--nodes", &cluster.url, "--password", PASSWORD, "--rows", "20000", "--users", users];
            all.extend(arguments.split(' '));
            run("target/release/highwater-load", &all)
        };
        load("--setup")?;
        for workload in workloads {
            load(&format!("{workload} --seconds 6 --warmup 1"))?;
        }
        load("--cleanup")?;
    }
    cluster.stop()
}

/// The cluster that is trained; killed when dropped.
struct Cluster {
    child: Child,
    url: String,
}

impl Cluster {
    fn start(highwaterd: &Path, data: &Path) -> Result<Self, String> {
        let mut command = Command::new(highwaterd);
        command.args(["dev-cluster", "3", "--http-port", PORTS[0], "--rpc-port", PORTS[1], "--data-dir"]).arg(data);
        command.args(["--", "--cores", "1", "--root-password", PASSWORD]);
        let mut child =
            command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{}: {error}", highwaterd.display()))?;
        let mut lines = child.stdout.take().map(BufReader::new).ok_or("the cluster has no output")?.lines();
        let cluster = Self { child, url: format!("http://127.0.0.1:{}", PORTS[0]) };
        while let Some(line) = lines.next().transpose().map_err(|error| format!("the cluster's output: {error}"))? {
            println!("{line}");
            if line.contains("Ctrl-C") {
                // Nobody may write into a closed pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(cluster);
            }
        }
        Err("the cluster ended before it was there".to_owned())
    }

    /// Ends it in order: that is when profiles are written.
    fn stop(&mut self) -> Result<(), String> {
        run("kill", &["-TERM", &self.child.id().to_string()])?;
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if self.child.try_wait().map_err(|error| format!("the cluster: {error}"))?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("the cluster does not end".to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
