//! The terminal: how wide it is, whether it shows colours, and Ctrl-C.

use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::connection::Canceller;
use crate::failure::exit;

/// How soon a pause notices Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How text may look where it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// Colours and bold.
    pub(crate) has_colour: bool,
    /// Columns of the terminal; `None` when it is none: nothing is cut then.
    pub(crate) width: Option<usize>,
    /// Lines of the terminal; `None` when it is none: nothing is paged then.
    pub(crate) height: Option<usize>,
}

impl Style {
    pub(crate) fn of_stdout() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let size = is_terminal.then(crossterm::terminal::size).and_then(Result::ok);
        Self {
            has_colour: is_terminal && wants_colour(),
            width: size.map(|(columns, _)| usize::from(columns)).filter(|columns| *columns >= 20),
            height: size.map(|(_, lines)| usize::from(lines)).filter(|lines| *lines >= 5),
        }
    }

    pub(crate) fn of_stderr() -> Self {
        Self { has_colour: std::io::stderr().is_terminal() && wants_colour(), ..Self::default() }
    }

    /// `text` in an ANSI style (its number), if there are colours.
    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        if self.has_colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Writes to standard error, which may be closed: the exit code says the same.
pub(crate) fn complain(text: &str) {
    let _closed = std::io::stderr().write_all(text.as_bytes());
}

/// https://no-color.org, and terminals that know nothing.
fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Raised by Ctrl-C, which also ends the request that is running. A second one ends the program at once, with 130.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    is_raised: Arc<AtomicBool>,
    /// Another program has the terminal: Ctrl-C is for that one.
    is_shielded: Arc<AtomicBool>,
    canceller: Canceller,
}

impl Interrupt {
    /// Takes Ctrl-C over, for the rest of the program.
    pub(crate) fn install(canceller: Canceller) -> std::io::Result<Self> {
        let interrupt = Self { canceller, ..Self::default() };
        let mut signals = Signals::new([SIGINT])?;
        let on_signal = interrupt.clone();
        std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            for _ in signals.forever() {
                if on_signal.is_shielded.load(Ordering::SeqCst) {
                    continue;
                }
                if on_signal.is_raised.swap(true, Ordering::SeqCst) {
                    std::process::exit(i32::from(exit::CANCELLED));
                }
                on_signal.canceller.cancel();
            }
        })?;
        Ok(interrupt)
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.is_raised.load(Ordering::SeqCst)
    }

    /// Goes on after it.
    pub(crate) fn lower(&self) {
        self.canceller.forget();
        self.is_raised.store(false, Ordering::SeqCst);
    }

    /// Runs something that has the terminal to itself: an editor, a pager.
    pub(crate) fn shielded<T>(&self, run: impl FnOnce() -> T) -> T {
        self.is_shielded.store(true, Ordering::SeqCst);
        let outcome = run();
        self.is_shielded.store(false, Ordering::SeqCst);
        outcome
    }

    /// Waits so long; `false` as soon as Ctrl-C is pressed.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        while !self.is_raised() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
        false
    }
}
