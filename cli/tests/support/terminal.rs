//! A terminal for the shell: a pseudo-terminal, and a screen that is drawn from what the shell writes. Tests wait for what they
//! expect on the screen; they never sleep.

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

/// Longer than anything takes on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);
const ROWS: u16 = 40;
const COLUMNS: u16 = 100;
/// What a program asks to learn where the cursor is.
const WHERE_IS_THE_CURSOR: &[u8] = b"\x1b[6n";

pub struct Terminal {
    pty: Arc<Pty>,
    shared: Arc<(Mutex<Drawn>, Condvar)>,
    child: Child,
}

struct Drawn {
    parser: vt100::Parser,
    has_ended: bool,
}

impl Terminal {
    /// Starts the shell with these arguments and this environment alone.
    pub fn start(args: &[&str], environment: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(ROWS, COLUMNS)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater")).args(args).env_clear();
        command = command.env("TERM", "xterm-256color").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in environment {
            command = command.env(name, value);
        }
        let child = command.spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let size = |cells: u16| NonZeroU16::new(cells).unwrap();
        let parser = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
        let shared = Arc::new((Mutex::new(Drawn { parser, has_ended: false }), Condvar::new()));
        let (of_thread, of_screen) = (Arc::clone(&pty), Arc::clone(&shared));
        std::thread::spawn(move || draw(&of_thread, &of_screen));
        Self { pty, shared, child }
    }

    /// Types.
    pub fn send(&self, text: &str) {
        (&*self.pty).write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the screen is as expected, and gives it.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let (drawn, changed) = &*self.shared;
        let until = Instant::now() + PATIENCE;
        let mut drawn = drawn.lock().unwrap();
        loop {
            let screen = drawn.parser.screen().contents();
            if is_there(&screen) {
                return screen;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!drawn.has_ended, "the shell ended before there was {what}:\n{screen}");
            assert!(!left.is_zero(), "there is no {what}:\n{screen}");
            drawn = changed.wait_timeout(drawn, left).unwrap().0;
        }
    }

    /// Waits for a text.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) -> String {
        self.wait_for(text, |screen| screen.contains(text))
    }

    /// Waits until the last line with something in it is this.
    #[track_caller]
    pub fn wait_for_last_line(&self, line: &str) -> String {
        self.wait_for(&format!("last line {line:?}"), |screen| {
            screen.lines().rev().map(str::trim_end).find(|line| !line.is_empty()) == Some(line)
        })
    }

    /// Waits for the shell to end: its exit code.
    pub fn end(mut self) -> i32 {
        let (drawn, changed) = &*self.shared;
        let drawn = drawn.lock().unwrap();
        let (drawn, waited) = changed.wait_timeout_while(drawn, PATIENCE, |drawn| !drawn.has_ended).unwrap();
        assert!(!waited.timed_out(), "the shell does not end:\n{}", drawn.parser.screen().contents());
        drop(drawn);
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Draws what the shell writes, and answers where the cursor is when it asks.
fn draw(pty: &Pty, shared: &(Mutex<Drawn>, Condvar)) {
    let (drawn, changed) = shared;
    let mut last = [0_u8; 4];
    let mut bytes = [0; 4096];
    // The end of the other side is an error on Linux.
    while let Ok(count) = (&mut &*pty).read(&mut bytes) {
        if count == 0 {
            break;
        }
        let mut drawn = drawn.lock().unwrap();
        for byte in &bytes[..count] {
            drawn.parser.process(&[*byte]);
            last.rotate_left(1);
            last[3] = *byte;
            if last == WHERE_IS_THE_CURSOR {
                let (row, column) = drawn.parser.screen().cursor_position();
                let answer = format!("\x1b[{};{}R", row + 1, column + 1);
                let _gone = (&*pty).write_all(answer.as_bytes());
            }
        }
        changed.notify_all();
    }
    drawn.lock().unwrap().has_ended = true;
    changed.notify_all();
}
