//! Where results go: standard output, a file (`\o`), or a pager when they are longer than the terminal.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::terminal::{Interrupt, Style};

/// Where results go.
#[derive(Debug)]
pub(crate) enum Output {
    /// Standard output.
    Standard(io::Stdout),
    /// A file; what is written is there after `flush`.
    File(BufWriter<File>),
}

impl Output {
    pub(crate) fn standard() -> Self {
        Self::Standard(io::stdout())
    }

    /// A file, emptied.
    pub(crate) fn file(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path)
            .map_err(|error| Failure::Command(format!("cannot write {}: {error}", path.display())))?;
        Ok(Self::File(BufWriter::new(file)))
    }

    pub(crate) fn is_standard(&self) -> bool {
        matches!(self, Self::Standard(_))
    }

    /// How text may look there.
    pub(crate) fn style(&self) -> Style {
        match self {
            Self::Standard(_) => Style::of_stdout(),
            Self::File(_) => Style::default(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::File(file) => file.flush(),
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
