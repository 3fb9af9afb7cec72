//! Where results go: standard output, a file (`\o`), or a pager when they are longer than the terminal.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Unwritable};
use crate::terminal::{Interrupt, Style};

/// Standard output is one, however often it is opened.
static STANDARD_HAS_STREAM: AtomicBool = AtomicBool::new(false);

/// Where results go.
#[derive(Debug)]
pub(crate) enum Output {
    /// Standard output.
    Standard(io::Stdout),
    /// A file.
    File {
        /// What is written is there after `flush`.
        file: BufWriter<File>,
        /// An Arrow stream was begun in it.
        has_stream: bool,
    },
}

impl Output {
    pub(crate) fn standard() -> Self {
        Self::Standard(io::stdout())
    }

    /// A file, emptied.
    pub(crate) fn file(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path)
            .map_err(|error| Failure::Command(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self::File { file: BufWriter::new(file), has_stream: false })
    }

    pub(crate) fn is_standard(&self) -> bool {
        matches!(self, Self::Standard(_))
    }

    /// How text may look there.
    pub(crate) fn style(&self) -> Style {
        match self {
            Self::Standard(_) => Style::of_stdout(),
            Self::File { .. } => Style::default(),
        }
    }

    /// An Arrow stream is to begin: a reader stops at its end, and would not see a second one.
    pub(crate) fn begin_stream(&mut self) -> Result<(), Unwritable> {
        let had_stream = match self {
            Self::Standard(out) if out.is_terminal() => {
                return Err(Unwritable(
                    "rows as Arrow are bytes for a program, not for a terminal: send them to a file with \\g FILE, \\o FILE \
                     or --output FILE, or redirect the output; the statement was run"
                        .to_owned(),
                ));
            }
            Self::Standard(_) => STANDARD_HAS_STREAM.swap(true, Ordering::Relaxed),
            Self::File { has_stream, .. } => std::mem::replace(has_stream, true),
        };
        if had_stream {
            return Err(Unwritable(
                "an Arrow stream holds one result, and there is one in the output: give each its own file with \\g FILE or \\o FILE; \
                 the statement was run"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

/// Shows a text in `$PAGER`, else `less -SRFX`; `false` when there is none to be had.
pub(crate) fn page(text: &str, interrupt: &Interrupt) -> bool {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let mut command = Command::new("sh");
    command.arg("-c").arg(pager.as_deref().unwrap_or("less -SRFX")).stdin(Stdio::piped());
    interrupt.shielded(|| {
        let Ok(mut child) = command.spawn() else { return false };
        if let Some(mut stdin) = child.stdin.take() {
            // Who leaves the pager early does not read the rest.
            let _closed = stdin.write_all(text.as_bytes());
        }
        // 127: there is no such program.
        child.wait().is_ok_and(|status| status.code() != Some(127))
    })
}
