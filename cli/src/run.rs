//! From arguments to an exit code.

use std::io::{IsTerminal as _, Read as _, Write};
use std::path::Path;

use crate::args::{Args, Format};
use crate::connection::Connection;
use crate::consume::Follow;
use crate::failure::{Failure, exit};
use crate::render::failure_text;
use crate::session::Session;
use crate::terminal::{Interrupt, Style};
use crate::{password, shell};

/// Does what the arguments ask for, on standard output and error, and gives the exit code.
#[must_use]
pub fn run(args: &Args) -> u8 {
    let mut out = std::io::stdout().lock();
    match try_run(args, &mut out) {
        Ok(()) => exit::OK,
        Err(failure) => {
            let is_shown = args.format() == Format::Json && matches!(failure, Failure::Statement { .. });
            if !is_shown && failure.code() != exit::OK {
                eprint!("{}", failure_text(&failure, Style::of_stderr()));
            }
            failure.code()
        }
    }
}

fn try_run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let base = args.base_url()?;
    let is_script = !args.command.is_empty() || !args.file.is_empty() || !std::io::stdin().is_terminal();
    let is_prompt = !args.consume && !is_script;
    let inputs = if args.consume || is_prompt { Vec::new() } else { inputs(args)? };
    let password = password::find(&args.user, args.password.as_deref(), &args.data_dir)?;
    let interrupt = if args.consume || is_prompt { Interrupt::install()? } else { Interrupt::default() };
    let mut session = Session {
        connection: Connection::open(base, &args.user, password)?,
        out,
        format: args.format(),
        style: Style::of_stdout(),
        has_timing: false,
        is_expanded: false,
        interrupt,
    };
    if let (true, Some(topic)) = (args.consume, &args.topic) {
        return session.follow(&Follow {
            topic: topic.clone(),
            group: args.group.clone(),
            from: args.from,
            limit: args.limit,
        });
    }
    if is_prompt {
        return shell::run(&mut session);
    }
    for input in inputs {
        if session.run(&input)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Everything that is to be run, in order: commands, files, or standard input when there is neither.
fn inputs(args: &Args) -> Result<Vec<String>, Failure> {
    let mut inputs = args.command.clone();
    for file in &args.file {
        inputs.push(if file == Path::new("-") { stdin()? } else { read_file(file)? });
    }
    if inputs.is_empty() {
        inputs.push(stdin()?);
    }
    Ok(inputs)
}

fn read_file(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
}

fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    Ok(text)
}
