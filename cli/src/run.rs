//! From arguments to an exit code.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use clap::CommandFactory as _;

use crate::args::{Action, Args, ContextAction, Format};
use crate::command::Expanded;
use crate::connection::{Canceller, Connection};
use crate::consume::Follow;
use crate::failure::{Failure, exit};
use crate::output::Output;
use crate::render::{MessageFormat, failure_text};
use crate::session::Session;
use crate::show::Look;
use crate::terminal::{Interrupt, Style, complain};
use crate::{contexts, doctor, prompt};

/// What standard input is called before the line of a failure.
const STDIN: &str = "stdin";

/// Does what the arguments ask for, on standard output and error, and gives the exit code.
#[must_use]
pub fn run(args: &Args) -> u8 {
    match try_run(args) {
        Ok(()) => exit::OK,
        Err(failure) => {
            if failure.code() != exit::OK {
                show(&failure, args.format());
            }
            failure.code()
        }
    }
}

/// Shows what ended the program: as a document among the others, or as a text beside the rows.
fn show(failure: &Failure, format: Format) {
    match (failure, format) {
        // The documents of the second are its checks.
        (Failure::Shown(_), _) | (Failure::Unwell(_), Format::Json) => {}
        (failure, Format::Json) if failure.is_survivable() => {
            // Whoever closed the pipe has the exit code.
            let _closed = writeln!(std::io::stdout(), "{}", failure.to_json());
        }
        _ => complain(&failure_text(failure, Style::of_stderr())),
    }
}

fn try_run(args: &Args) -> Result<(), Failure> {
    let can_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if let Some(action) = &args.action {
        return act(action, args, can_ask);
    }
    let is_script = !args.command.is_empty() || !args.file.is_empty() || !std::io::stdin().is_terminal();
    let is_prompt = !args.consume && !is_script;
    let message = args.message_format.as_deref().map(MessageFormat::parse).transpose().map_err(Failure::usage)?;
    let inputs = if args.consume || is_prompt { Vec::new() } else { inputs(args)? };
    let target = args.server.target(can_ask)?;
    let out = args.output.as_deref().map_or_else(|| Ok(Output::standard()), Output::file)?;
    let canceller = Canceller::default();
    let look = Look {
        format: args.format(),
        unasked: args.unasked_format(),
        expanded: Expanded::Off,
        style: out.style(),
        is_paged: is_prompt,
        table: "result".to_owned(),
    };
    let connection = Connection::open(target, canceller.clone())?;
    // Until here there is nothing to cancel: Ctrl-C ends the program as it ends any.
    let interrupt = Interrupt::install(canceller.clone())?;
    let mut session = Session {
        connection,
        out,
        look,
        has_timing: false,
        variables: args.variable.iter().cloned().collect(),
        last: None,
        fixes: Vec::new(),
        interrupt,
        canceller,
        server: args.server.clone(),
        is_interactive: is_prompt,
        is_catalog_stale: Arc::default(),
        included: 0,
        keeps_going: args.keep_going,
        has_failed: false,
    };
    if let (true, Some(topic)) = (args.consume, &args.topic) {
        return session.follow(&Follow {
            topic: topic.clone(),
            group: args.group.clone(),
            from: args.from,
            limit: args.limit,
            message,
        });
    }
    if is_prompt {
        return prompt::run(&mut session);
    }
    match run_all(&mut session, &inputs) {
        // It is shown here because only the session knows where its documents go.
        Err(failure) if session.look.format == Format::Json && failure.is_survivable() => {
            session.show_failure(&failure)?;
            Err(Failure::Shown(failure.code()))
        }
        Ok(()) if session.has_failed => Err(Failure::Shown(exit::STATEMENT)),
        outcome => outcome,
    }
}

fn run_all(session: &mut Session, inputs: &[(Option<String>, String)]) -> Result<(), Failure> {
    for (file, text) in inputs {
        if session.run_of(file.as_deref(), text)?.is_break() {
            break;
        }
    }
    Ok(session.out.flush()?)
}

fn act(action: &Action, args: &Args, can_ask: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match action {
        Action::Doctor => return doctor::run(&args.server, args.format(), can_ask),
        Action::Bundle { file } => return doctor::bundle(&args.server, file, can_ask),
        Action::Ctx { action } => {
            let action = action.as_ref().unwrap_or(&ContextAction::List);
            out.write_all(contexts::run(action, &args.server, can_ask)?.as_bytes())?;
        }
        Action::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "highwater", &mut text);
            out.write_all(&text)?;
        }
        Action::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut text)?;
            out.write_all(&text)?;
        }
    }
    Ok(())
}

/// Everything that is to be run, in order: commands, files, or standard input when there is neither. What has lines to be named has a name.
fn inputs(args: &Args) -> Result<Vec<(Option<String>, String)>, Failure> {
    let mut inputs: Vec<(Option<String>, String)> = args.command.iter().map(|text| (None, text.clone())).collect();
    for file in &args.file {
        let name = Some(file.display().to_string());
        inputs.push(if file == Path::new("-") { (Some(STDIN.to_owned()), stdin()?) } else { (name, read_file(file)?) });
    }
    if inputs.is_empty() {
        inputs.push((Some(STDIN.to_owned()), stdin()?));
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
