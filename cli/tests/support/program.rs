//! Runs the shell as a script would.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub struct Outcome {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Outcome {
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

pub fn highwater(url: &str, args: &[&str], input: &str) -> Outcome {
    with_password(url, args, input, Some("secret"), Path::new("/nonexistent"))
}

pub fn with_password(url: &str, args: &[&str], input: &str, password: Option<&str>, data_dir: &Path) -> Outcome {
    Outcome::of(&run(url, args, input.as_bytes(), password, data_dir))
}

/// What it wrote, as it wrote it.
pub fn run(url: &str, args: &[&str], input: &[u8], password: Option<&str>, data_dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HIGHWATER_URL", url)
        .env("HIGHWATER_DATA_DIR", data_dir);
    if let Some(password) = password {
        command.env("HIGHWATER_PASSWORD", password);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The program may end without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}
