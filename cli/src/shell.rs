//! The prompt: history, statements over several lines, Ctrl-C and Ctrl-D.

use std::borrow::Cow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline, Signal,
    ValidationResult, Validator,
};

use crate::failure::Failure;
use crate::render::failure_text;
use crate::session::Session;
use crate::statements::is_complete;
use crate::terminal::Style;

/// Lines of history that are kept.
const HISTORY_LINES: usize = 5_000;

/// Reads and runs until `\q` or Ctrl-D. Failures are shown and the prompt goes on.
pub(crate) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let connection = &session.connection;
    writeln!(
        session.out,
        "highwater {} at {} as {}. \\? shows the commands, \\q leaves.",
        env!("CARGO_PKG_VERSION"),
        connection.base(),
        connection.user()
    )?;
    let prompt = ShellPrompt(format!("{}=> ", connection.user()));
    let mut editor = Reedline::create().with_validator(Box::new(Statements)).with_ansi_colors(session.style.has_colour);
    if let Some(history) = history() {
        editor = editor.with_history(Box::new(history)).with_history_exclusion_prefix(Some(" ".to_owned()));
    }
    loop {
        match editor.read_line(&prompt) {
            Ok(Signal::Success(input)) => {
                session.interrupt.lower();
                match session.run(&input) {
                    Ok(flow) if flow.is_break() => return Ok(()),
                    Ok(_) => {}
                    Err(failure) if failure.is_survivable() => {
                        eprint!("{}", failure_text(&failure, Style::of_stderr()))
                    }
                    Err(failure) => return Err(failure),
                }
                // The terminal may have been resized meanwhile.
                session.style = Style::of_stdout();
            }
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Failure::Output(std::io::Error::other(error))),
        }
    }
}

/// `~/.highwater_history`, readable by its owner only: statements may hold passwords. None without a home.
fn history() -> Option<FileBackedHistory> {
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".highwater_history");
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path).ok()?;
    FileBackedHistory::with_file(HISTORY_LINES, path).ok()
}

/// Enter ends the input once its last statement has its `;`.
struct Statements;

impl Validator for Statements {
    fn validate(&self, input: &str) -> ValidationResult {
        if is_complete(input) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

struct ShellPrompt(String);

impl Prompt for ShellPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("-> ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let what = match search.status {
            PromptHistorySearchStatus::Passing => "search",
            PromptHistorySearchStatus::Failing => "nothing found for",
        };
        Cow::Owned(format!("({what} {:?}) ", search.term))
    }
}
