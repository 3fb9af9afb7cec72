//! Where the password comes from.

use std::io::Write as _;
use std::path::Path;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use crate::failure::Failure;

/// Name of the file beside the data that holds the password made for root at the first start.
const ROOT_PASSWORD_FILE: &str = "root-password";

/// The password of `user`: the one that was given, else for root the file that the server keeps beside its data, else the one
/// that is typed, where someone can be asked.
pub(crate) fn find(user: &str, given: Option<&str>, data_dir: &Path, can_ask: bool) -> Result<String, Failure> {
    if let Some(password) = given {
        return Ok(password.to_owned());
    }
    let how = "give one with --password or in the environment variable HIGHWATER_PASSWORD";
    if user != "root" {
        if can_ask {
            return ask(&format!("Password of {user}: "));
        }
        return Err(Failure::Usage { message: format!("no password for user {user:?}"), hint: Some(how.into()) });
    }
    let file = data_dir.join(ROOT_PASSWORD_FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(_) if can_ask => ask("Password of root: "),
        Err(error) => {
            let shown = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
            Err(Failure::Usage {
                message: format!(
                    "no password for root: none was given, and {} cannot be read: {error}",
                    shown.display()
                ),
                hint: Some(format!("{how}, or name the server's data folder with --data-dir or HIGHWATER_DATA_DIR")),
            })
        }
    }
}

/// Asks on the terminal, without showing what is typed: nothing is echoed from before the question is seen.
pub(crate) fn ask(prompt: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("no password was typed: {error}"));
    enable_raw_mode().map_err(failed)?;
    eprint!("{prompt}");
    let typed = read_hidden();
    let _cooked = disable_raw_mode();
    eprintln!();
    typed.map_err(failed)
}

/// What is typed up to Enter.
fn read_hidden() -> std::io::Result<String> {
    std::io::stderr().flush()?;
    let mut password = String::new();
    loop {
        let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = read()? else { continue };
        let has_control = modifiers.contains(KeyModifiers::CONTROL);
        match code {
            KeyCode::Enter => return Ok(password),
            KeyCode::Char('c' | 'd') if has_control => return Err(std::io::ErrorKind::Interrupted.into()),
            KeyCode::Char('u') if has_control => password.clear(),
            KeyCode::Char(character) if !has_control => password.push(character),
            KeyCode::Backspace => {
                password.pop();
            }
            _ => {}
        }
    }
}

/// Asks twice, for a new one.
pub(crate) fn ask_new(prompt: &str) -> Result<String, Failure> {
    let first = ask(prompt)?;
    if ask("The same again: ")? == first {
        Ok(first)
    } else {
        Err(Failure::usage("the two passwords differ; nothing was changed"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_given_password_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root-password"), "from the file\n").unwrap();
        assert_eq!(find("root", Some("given"), folder.path(), false).unwrap(), "given");
        assert_eq!(find("root", None, folder.path(), false).unwrap(), "from the file");
    }

    #[test]
    fn a_missing_password_says_where_it_was_looked_for_and_how_to_give_one() {
        let folder = tempfile::tempdir().unwrap();
        let failure = find("root", None, folder.path(), false).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains(&folder.path().join("root-password").display().to_string()), "{failure}");
        assert!(failure.hint().unwrap().contains("HIGHWATER_PASSWORD"));
        assert!(find("alice", None, folder.path(), false).unwrap_err().to_string().contains("alice"));
    }
}
