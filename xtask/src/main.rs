//! The project's own commands. `cargo xtask test` runs everything that must hold on every commit.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a build tool: it starts programs and reads files"
)]

mod book;
mod fuzzing;
mod layouts;
mod profiled;
mod ring0;
mod ring1;
mod rings;
mod seeds;
mod steps;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask <command>

  test                      everything that must hold on every commit: formatting, lints and tests on both backends,
                            the book's examples, and simulated seeds (stopped by time, above a floor)
  sim [options]             simulated seeds of crashes, partitions and recovery, one process each; see highwater-sim campaign --help
      --from N              first seed (1)
      --seeds N             how many (500)
      --seconds N           stop after this long, but not below the floor
      --floor N             run at least this many (100)
      --jobs N              processes at once (all CPUs)
      --mutant N            switch a planted bug on and count the seeds until it is found
      --nodes 1|3|mix       servers of a seed (mix: as the seed draws)
      --keep-going          do not stop at the first violation
      --json                one JSON line per seed
      --mutants             instead: look for every planted bug and write the table of docs/internals/simulation.md
                            (hours; --only N.., --campaigns N, --seeds N, --seconds N make it shorter)
  ring0 [options]           the Raft state machine alone, against Raft's invariants after every step
      --seeds N             seeds (100000)
      --from N              first seed (1)
      --steps N             steps of a seed's first phase (4000)
      --jobs N              threads (all CPUs)
      --mutant N            switch a planted bug on; finding it is success
      --mutants             instead: look for every planted bug and write the table of docs/internals/ring0.md
  ring1 [options]           the store alone on a simulated disk: every crash point of short workloads, then sampled histories
      --seeds N             histories (20000)
      --from N              first seed (1)
      --jobs N              threads (all CPUs)
      --mutant N            switch a planted bug on; finding it is success
      --mutants             instead: look for every planted bug and write the table of docs/internals/ring1.md
  ring3 [options]           three real nodes under load: killed, paused, cut off, their disks full; every acknowledgement is checked
      --rounds N            rounds of each kind of fault (20); a round takes about 8 s
      --faults A,B          kill-leader, kill-follower, kill-all, pause-leader, partition, one-way, full-disk (all; full-disk needs root)
      --nodes 1|3           1: a lone node, killed again and again (3)
      --seed S              draws the faults' times (1)
      --json                the last line is the result
  profiled                  highwaterd built by a profile of itself at work: target/profiled/optimised/.../highwaterd (needs the
                            toolchain's component llvm-tools; about 20 minutes on two CPUs)
  layouts [--write]         whether docs/internals/engine.md shows the layouts that the engine's code draws; --write takes them over
  fuzz [--seconds N] [T]..  coverage-guided fuzzing of every target, or of T (120 s each); needs cargo-fuzz and a C++ compiler
       [--write]            each run goes into the table of docs/internals/fuzzing.md
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match command.as_str() {
        "test" => steps::test(),
        "sim" => seeds::command(&rest),
        "ring0" => ring0::command(&rest),
        "ring1" => ring1::command(&rest),
        "ring3" => steps::ring3(&rest),
        "layouts" => layouts::command(&rest),
        "profiled" => profiled::command(&rest),
        "fuzz" => fuzzing::command(&rest),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(format!("no command '{other}'\n\n{HELP}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
