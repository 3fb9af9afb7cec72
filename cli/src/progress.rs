//! What a person sees of a request that takes long: one line on standard error, gone when it ends.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is quicker than this shows nothing.
const PATIENCE: Duration = Duration::from_millis(700);
const TICK: Duration = Duration::from_millis(120);
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

#[derive(Debug, Default)]
struct Shared {
    rows: AtomicU64,
    /// Bytes of a file, where one is read.
    bytes: AtomicU64,
    total_bytes: AtomicU64,
    is_hidden: AtomicBool,
    has_ended: Mutex<bool>,
    ended: Condvar,
}

/// A request under way. Its line goes when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to show, if someone looks at standard error.
    pub(crate) fn begin(is_wanted: bool) -> Self {
        let mut progress = Self::default();
        if is_wanted && std::io::stderr().is_terminal() {
            let shared = Arc::clone(&progress.shared);
            // Without a thread there is no line; the request runs all the same.
            progress.thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || show(&shared)).ok();
        }
        progress
    }

    pub(crate) fn row(&self) {
        self.shared.rows.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rows(&self, count: u64) {
        self.shared.rows.fetch_add(count, Ordering::Relaxed);
    }

    /// How far a file of a known size has been read.
    pub(crate) fn bytes(&self, done: u64, of: u64) {
        self.shared.bytes.store(done, Ordering::Relaxed);
        self.shared.total_bytes.store(of, Ordering::Relaxed);
    }

    /// Something else is written to the terminal from now on.
    pub(crate) fn hide(&self) {
        let _held = self.shared.has_ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.shared.is_hidden.swap(true, Ordering::Relaxed) && self.thread.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        *self.shared.has_ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.ended.notify_all();
        if let Some(thread) = self.thread.take() {
            let _gone = thread.join();
        }
    }
}

fn show(shared: &Shared) {
    let began = Instant::now();
    let mut is_shown = false;
    let mut ended = shared.has_ended.lock().unwrap_or_else(PoisonError::into_inner);
    for frame in FRAMES.iter().cycle() {
        let wait = if is_shown { TICK } else { PATIENCE };
        (ended, _) =
            shared.ended.wait_timeout_while(ended, wait, |ended| !*ended).unwrap_or_else(PoisonError::into_inner);
        if *ended || shared.is_hidden.load(Ordering::Relaxed) {
            break;
        }
        is_shown = true;
        let figures = Figures {
            seconds: began.elapsed().as_secs_f64(),
            rows: shared.rows.load(Ordering::Relaxed),
            bytes: shared.bytes.load(Ordering::Relaxed),
            total_bytes: shared.total_bytes.load(Ordering::Relaxed),
        };
        eprint!("\r\x1b[K{frame} {}", line(&figures));
        let _flushed = std::io::stderr().flush();
    }
    if is_shown && !shared.is_hidden.load(Ordering::Relaxed) {
        eprint!("\r\x1b[K");
        let _flushed = std::io::stderr().flush();
    }
}

#[derive(Clone, Copy, Debug)]
struct Figures {
    seconds: f64,
    rows: u64,
    bytes: u64,
    total_bytes: u64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn line(figures: &Figures) -> String {
    let mut text = format!("{:.1} s", figures.seconds);
    if figures.rows > 0 {
        let rate = figures.rows as f64 / figures.seconds.max(0.001);
        text.push_str(&format!(", {} rows, {rate:.0} rows/s", figures.rows));
    }
    if figures.total_bytes > 0 {
        let share = figures.bytes as f64 / figures.total_bytes as f64;
        text.push_str(&format!(", {:.0} %", share * 100.0));
        if share > 0.01 {
            text.push_str(&format!(", {:.0} s left", figures.seconds * (1.0 - share) / share));
        }
    }
    text + "; Ctrl-C cancels"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_time_rows_and_what_is_left() {
        let figures = Figures { seconds: 2.0, rows: 0, bytes: 0, total_bytes: 0 };
        assert_eq!(line(&figures), "2.0 s; Ctrl-C cancels");
        assert_eq!(line(&Figures { rows: 500, ..figures }), "2.0 s, 500 rows, 250 rows/s; Ctrl-C cancels");
        assert_eq!(
            line(&Figures { rows: 500, bytes: 1, total_bytes: 4, ..figures }),
            "2.0 s, 500 rows, 250 rows/s, 25 %, 6 s left; Ctrl-C cancels"
        );
    }
}
