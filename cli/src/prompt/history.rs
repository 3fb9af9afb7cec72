//! What was typed, with when, for how long and how it ended, in an SQLite database that only its owner may read: statements may hold
//! secrets.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use reedline::{HistoryItem, Reedline, SqliteBackedHistory};

use crate::terminal::complain;

/// Lines that start with this are not kept.
const UNKEPT: &str = " ";

/// The editor with the history. It walks the lines of its own prompt and those that are older than it, not what other prompts are told
/// meanwhile.
pub(super) fn kept_by(editor: Reedline) -> Reedline {
    let Some(path) = path() else { return editor };
    let session = Reedline::create_history_session_id();
    let opened = prepare(&path).and_then(|is_file| match is_file {
        false => Ok(None),
        true => SqliteBackedHistory::with_file(path.clone(), session, Some(Utc::now()))
            .map(Some)
            .map_err(|error| error.to_string()),
    });
    match opened {
        Ok(None) => editor,
        Ok(Some(history)) => editor
            .with_history(Box::new(history))
            .with_history_session_id(session)
            .with_history_exclusion_prefix(Some(UNKEPT.to_owned())),
        Err(error) => {
            complain(&format!("no history is kept in {}: {error}\n", path.display()));
            editor
        }
    }
}

/// `HIGHWATER_HISTORY`, else `~/.highwater_history.db`; none without a home, or where the variable is empty.
fn path() -> Option<PathBuf> {
    match std::env::var_os("HIGHWATER_HISTORY") {
        Some(path) => Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty()),
        None => Some(PathBuf::from(std::env::var_os("HOME")?).join(".highwater_history.db")),
    }
}

/// Makes the file, so that nobody else may read it; SQLite gives the files beside it the same rights. `false` where the path is no file
/// (`/dev/null`).
fn prepare(path: &Path) -> Result<bool, String> {
    let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    file.and_then(|file| file.metadata()).map(|metadata| metadata.is_file()).map_err(|error| error.to_string())
}

/// Notes that what was typed last is run from now on.
pub(super) fn begun(editor: &mut Reedline) {
    if let Some(error) = editor.take_history_save_error() {
        complain(&format!("the line is not kept in the history: {error}\n"));
    }
    let now = Utc::now();
    note(editor, &|item| HistoryItem { start_timestamp: Some(now), ..item });
}

/// Notes how long it took, and the exit code that it would have had in a script.
pub(super) fn ended(editor: &mut Reedline, took: Duration, code: u8) {
    note(editor, &|item| HistoryItem { duration: Some(took), exit_status: Some(i64::from(code)), ..item });
}

fn note(editor: &mut Reedline, change: &dyn Fn(HistoryItem) -> HistoryItem) {
    if editor.has_last_command_context() {
        // The line itself is kept already.
        let _unnoted = editor.update_last_command_context(change);
    }
}
