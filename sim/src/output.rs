//! What the simulators print. Whoever reads it may go (`| head`): that ends the program, and is no defect of it.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// The exit code of a program whose reader has gone: as a shell shows the end by SIGPIPE.
const READER_HAS_GONE: i32 = 128 + 13;

/// Prints a line as `println!` does; ends the program when nobody reads it any more.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to standard output; ends the program when that cannot be done.
pub fn write(text: Arguments<'_>) {
    match std::io::stdout().write_fmt(text) {
        Ok(()) => {}
        Err(gone) if gone.kind() == ErrorKind::BrokenPipe => std::process::exit(READER_HAS_GONE),
        Err(error) => {
            // Where this cannot be written either, the exit code says it.
            let _ = writeln!(std::io::stderr(), "cannot write the output: {error}");
            std::process::exit(1);
        }
    }
}
