//! The prompt: editing, completion, highlighting, history, statements over several lines, Ctrl-C and Ctrl-D.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reedline::{
    DefaultHinter, EditCommand, Emacs, IdeMenu, InputMode, KeyCode, KeyModifiers, MenuBuilder as _, Prompt,
    PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline, ReedlineEvent, ReedlineMenu, Signal,
    ValidationResult, Validator, default_emacs_keybindings,
};

use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::statements::is_complete;

use self::completer::{Known, StatementCompleter};
use self::highlight::StatementHighlighter;

mod catalog;
mod complete;
mod completer;
mod highlight;
mod history;

const MENU: &str = "completion";

/// Reads and runs until `\q` or Ctrl-D. Failures are shown and the prompt goes on.
pub(crate) fn run(session: &mut Session) -> Result<(), Failure> {
    let connection = &session.connection;
    writeln!(
        session.out,
        "highwater {} at {} as {}. \\? shows the commands, \\q leaves.",
        env!("CARGO_PKG_VERSION"),
        connection.base(),
        connection.user()
    )?;
    let known = Arc::new(Mutex::new(Known::new(Arc::clone(&session.is_catalog_stale))));
    let mut editor = editor(Arc::clone(&known), session.look.style.has_colour);
    loop {
        {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.follow(session);
        }
        let mark = if session.connection.is_in_transaction() { "*" } else { "" };
        let within = session.connection.target().namespace.as_ref().map_or(String::new(), |name| format!("@{name}"));
        let prompt = ShellPrompt(format!("{}{within}={mark}> ", session.connection.user()));
        match editor.read_line(&prompt) {
            Ok(Signal::Success(input)) => {
                session.interrupt.lower();
                let began = Instant::now();
                if !input.is_empty() {
                    history::begun(&mut editor);
                }
                let outcome = session.run(&input);
                if !input.is_empty() {
                    let code = outcome.as_ref().map_or_else(Failure::code, |_| exit::OK);
                    history::ended(&mut editor, began.elapsed(), code);
                }
                match outcome {
                    Ok(flow) if flow.is_break() => return Ok(()),
                    Ok(_) => {}
                    Err(failure) if failure.is_survivable() => session.show_failure(&failure)?,
                    Err(failure) => return Err(failure),
                }
                session.out.flush()?;
                // The terminal may have been resized meanwhile.
                session.look.style = session.out.style();
            }
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Failure::Output(std::io::Error::other(error))),
        }
    }
}

fn editor(known: Arc<Mutex<Known>>, has_colour: bool) -> Reedline {
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]),
    );
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, ReedlineEvent::Edit(vec![EditCommand::InsertNewline]));
    // What follows the cursor may name the tables whose columns are meant.
    let menu = IdeMenu::default()
        .with_name(MENU)
        .with_marker("")
        .with_max_completion_height(12)
        .with_input_mode(InputMode::FullBuffer);
    let mut editor = Reedline::create()
        .with_validator(Box::new(Statements))
        .with_ansi_colors(has_colour)
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_completer(Box::new(StatementCompleter(known)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_highlighter(Box::new(StatementHighlighter { has_colour }));
    // Without colours a hint would look as if it had been typed.
    if has_colour {
        let style = nu_ansi_term::Style::new().dimmed();
        editor = editor.with_hinter(Box::new(DefaultHinter::default().with_style(style)));
    }
    history::kept_by(editor)
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
