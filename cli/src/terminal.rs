//! The terminal: how wide it is, whether it shows colours, and Ctrl-C.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;

/// How text may look where it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Colours and bold.
    pub(crate) has_colour: bool,
    /// Columns of the terminal; `None` when it is none: nothing is cut then.
    pub(crate) width: Option<usize>,
}

impl Style {
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let width =
            is_terminal.then(crossterm::terminal::size).and_then(Result::ok).map(|(columns, _)| usize::from(columns));
        Self { has_colour: is_terminal && wants_colour(), width: width.filter(|columns| *columns >= 20) }
    }

    pub(crate) fn of_stderr() -> Self {
        Self { has_colour: std::io::stderr().is_terminal() && wants_colour(), width: None }
    }

    /// `text` in an ANSI style (its number), if there are colours.
    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// https://no-color.org, and terminals that know nothing.
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Raised by Ctrl-C. A second one ends the program at once, with 130.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes Ctrl-C over, for the rest of the program.
    pub(crate) fn install() -> std::io::Result<Self> {
        let interrupt = Self::default();
        signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&interrupt.0))?;
        signal_hook::flag::register(SIGINT, Arc::clone(&interrupt.0))?;
        Ok(interrupt)
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn lower(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
