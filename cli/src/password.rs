//! Where the password comes from.

use std::path::Path;

use crate::failure::Failure;

/// Name of the file beside the data that holds the password made for root at the first start.
const ROOT_PASSWORD_FILE: &str = "root-password";

/// The password of `user`: the one that was given, else for root the file that the server keeps beside its data.
pub(crate) fn find(user: &str, given: Option<&str>, data_dir: &Path) -> Result<String, Failure> {
    if let Some(password) = given {
        return Ok(password.to_owned());
    }
    let how = "give one with --password or in the environment variable HIGHWATER_PASSWORD";
    if user != "root" {
        return Err(Failure::Usage { message: format!("no password for user {user:?}"), hint: Some(how.into()) });
    }
    let file = data_dir.join(ROOT_PASSWORD_FILE);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_given_password_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("root-password"), "from the file\n").unwrap();
        assert_eq!(find("root", Some("given"), folder.path()).unwrap(), "given");
        assert_eq!(find("root", None, folder.path()).unwrap(), "from the file");
    }

    #[test]
    fn a_missing_password_says_where_it_was_looked_for_and_how_to_give_one() {
        let folder = tempfile::tempdir().unwrap();
        let failure = find("root", None, folder.path()).unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains(&folder.path().join("root-password").display().to_string()), "{failure}");
        assert!(failure.hint().unwrap().contains("HIGHWATER_PASSWORD"));
        assert!(find("alice", None, folder.path()).unwrap_err().to_string().contains("alice"));
    }
}
