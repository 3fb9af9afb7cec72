//! PostgreSQL, spoken to through one psql.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::answer::Theirs;
use crate::failure::Failure;

/// Between two columns, between two rows, for NULL, and at the end of an answer: bytes that no text has.
const COLUMN: char = '\u{1f}';
const ROW: char = '\u{1e}';
const NULL: &str = "\u{2}";
const END: &str = "\u{4}";

/// A server of our own, ended when dropped.
pub(crate) struct Postgres {
    folder: PathBuf,
    programs: PathBuf,
    psql: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// A command that does not run as root, which PostgreSQL refuses to.
fn unprivileged(program: &Path) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

impl Postgres {
    /// Makes a server in `folder`, which listens on a socket there only.
    pub(crate) fn start(programs: &Path, folder: &Path) -> Result<Self, Failure> {
        let run = |command: &mut Command, what: &str| {
            let output = command.output().map_err(|error| Failure::postgres(format!("cannot run {what}: {error}")))?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Failure::postgres(format!("{what} failed: {said}")))
        };
        std::fs::create_dir_all(folder)?;
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(folder), "chown")?;
        }
        let data = folder.join("data");
        let mut command = unprivileged(&programs.join("initdb"));
        // Texts are ordered by their bytes here; letters beyond ASCII are letters all the same.
        command.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8"]);
        command.args(["--lc-collate=C", "--lc-ctype=C.UTF-8", "--no-sync"]);
        run(&mut command, "initdb")?;
        let options = format!("-c listen_addresses='' -c unix_socket_directories={} -c fsync=off", folder.display());
        let mut command = unprivileged(&programs.join("pg_ctl"));
        command.arg("-D").arg(&data).arg("-l").arg(folder.join("log")).args(["-w", "-o", &options, "start"]);
        // The server keeps what it inherits.
        run(command.stdout(Stdio::null()).stderr(Stdio::null()), "pg_ctl")?;
        let mut psql = Command::new("sh");
        psql.args(["-c", "exec stdbuf -oL psql -X -q -A -t -h \"$0\" -U postgres postgres 2>&1"]).arg(folder);
        let mut psql = psql
            .env("PGOPTIONS", "-c timezone=UTC -c datestyle=ISO -c extra_float_digits=3 -c client_min_messages=error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::postgres(format!("cannot run psql: {error}")))?;
        let (Some(input), Some(output)) = (psql.stdin.take(), psql.stdout.take()) else {
            return Err(Failure::postgres("psql has no pipes"));
        };
        let (folder, programs) = (folder.to_path_buf(), programs.to_path_buf());
        let mut postgres = Self { folder, programs, psql, input, output: BufReader::new(output) };
        let set = format!(
            "\\set VERBOSITY sqlstate\n\\pset fieldsep '{COLUMN}'\n\\pset recordsep '{ROW}'\n\\pset null '{NULL}'\n"
        );
        postgres.input.write_all(set.as_bytes())?;
        match postgres.run("SELECT 1")? {
            Theirs::Rows(rows, _) if rows == [[Some("1".to_owned())]] => Ok(postgres),
            other => Err(Failure::postgres(format!("psql answers SELECT 1 with {other:?}"))),
        }
    }

    /// Its version, in words.
    pub(crate) fn version(&mut self) -> Result<String, Failure> {
        match self.run("SELECT split_part(version(), ' on ', 1)")? {
            Theirs::Rows(rows, _) => Ok(rows.into_iter().flatten().flatten().collect()),
            Theirs::Error(state) => Err(Failure::postgres(format!("it does not tell its version: {state}"))),
        }
    }

    /// Runs one statement.
    pub(crate) fn run(&mut self, sql: &str) -> Result<Theirs, Failure> {
        let text = format!("{sql};\n\\echo '\\n{END}' :SQLSTATE :ROW_COUNT\n");
        self.input.write_all(text.as_bytes())?;
        self.input.flush()?;
        let mut said = String::new();
        let (state, count) = loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(Failure::postgres(format!("psql has ended: {said}")));
            }
            if let Some(end) = line.strip_prefix(END) {
                let mut words = end.split_whitespace();
                break (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
            }
            said.push_str(&line);
        };
        if state != "00000" {
            return Ok(Theirs::Error(state));
        }
        let count: u64 = count.parse().unwrap_or(0);
        // A result ends with a line's end, and another is before the end's mark.
        let said = said.strip_suffix('\n').unwrap_or(&said);
        if said.is_empty() {
            return Ok(Theirs::Rows(Vec::new(), count));
        }
        let said = said.strip_suffix('\n').unwrap_or(said);
        let cell = |text: &str| (text != NULL).then(|| text.to_owned());
        let rows: Vec<Vec<Option<String>>> = said.split(ROW).map(|row| row.split(COLUMN).map(cell).collect()).collect();
        Ok(Theirs::Rows(rows, count))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
        let mut command = unprivileged(&self.programs.join("pg_ctl"));
        let _ = command.arg("-D").arg(self.folder.join("data")).args(["-m", "immediate", "stop"]).output();
    }
}
