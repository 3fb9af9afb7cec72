//! The data folder before the server runs: it exists, and root of a new one has a password.
//!
//! A password that is made here is kept in `<data-dir>/root-password` (mode 0600), where the `highwater` shell of the same
//! user on the same machine finds it. It is written before the cluster's first entry: a crash between the two leaves a
//! password that the next start takes up.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "used by main only, before the first executor starts"
)]

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the file with root's password.
pub const PASSWORD_FILE: &str = "root-password";
/// Characters of a password that is made.
const LENGTH: usize = 24;
/// 32 characters, so that five random bits choose one without bias; none that look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Why the folder cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made.
    #[error("cannot create the data folder {}: {reason}", folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// A file in it cannot be read or written.
    #[error("cannot use {}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
}

/// Root's password for this start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootPassword {
    /// Given by the user.
    Given(String),
    /// Made by this start and kept in the file; to be shown once.
    Made(String),
    /// Made by an earlier start.
    Kept(String),
    /// The one that all nodes of a cluster derive from its secret; needed should the cluster not have its first entry yet.
    Shared(String),
    /// Given by whoever sets the cluster up over HTTP.
    AtSetup,
    /// The folder is not new and keeps none: it is not needed.
    Unneeded,
}

impl RootPassword {
    /// The text that a new cluster is set up with.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Given(text) | Self::Made(text) | Self::Kept(text) | Self::Shared(text) => text,
            Self::AtSetup | Self::Unneeded => "",
        }
    }
}

/// Makes the folder (mode 0700, parents as usual) unless it is there, and gives its absolute path.
///
/// # Errors
/// [`FolderError::Create`].
pub fn create_folder(folder: &Path) -> Result<PathBuf, FolderError> {
    let failed = |reason| FolderError::Create { folder: folder.to_owned(), reason };
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = folder.parent() {
                DirBuilder::new().recursive(true).create(parent).map_err(failed)?;
            }
            DirBuilder::new().mode(0o700).create(folder).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    folder.canonicalize().map_err(failed)
}

/// Decides on root's password: the one given, the one kept, or for a new folder one that is made now. `shared` has the bytes that it
/// is made from when several nodes must come to the same one; random ones otherwise. `at_setup`: none is made, as the cluster is set up over
/// HTTP.
///
/// # Errors
/// [`FolderError::File`].
pub fn root_password(
    folder: &Path,
    given: Option<&str>,
    shared: Option<[u8; 32]>,
    at_setup: bool,
) -> Result<RootPassword, FolderError> {
    let file = folder.join(PASSWORD_FILE);
    let failed = |reason| FolderError::File { file: file.clone(), reason };
    let is_new = is_new(folder).map_err(failed)?;
    if let Some(given) = given {
        if is_new {
            // One of a start that never got to its first entry: it would mislead the shell.
            remove_if_there(&file).map_err(failed)?;
        }
        return Ok(RootPassword::Given(given.to_owned()));
    }
    match fs::read_to_string(&file) {
        Ok(text) if !text.trim().is_empty() => return Ok(RootPassword::Kept(text.trim().to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let shared = shared.map(|bytes| spelled(bytes.get(..LENGTH).unwrap_or_default()));
    if !is_new {
        return Ok(shared.map_or(RootPassword::Unneeded, RootPassword::Shared));
    }
    if at_setup {
        return Ok(RootPassword::AtSetup);
    }
    let made = match shared {
        Some(shared) => shared,
        None => random_password().map_err(failed)?,
    };
    keep(folder, &file, &made).map_err(failed)?;
    Ok(RootPassword::Made(made))
}

/// The file of this name with a secret of its own for the processes of this user; made (mode 0600) when it is not there.
///
/// # Errors
/// [`FolderError::File`].
pub fn kept_secret(folder: &Path, name: &str) -> Result<PathBuf, FolderError> {
    let file = folder.join(name);
    let failed = |reason| FolderError::File { file: file.clone(), reason };
    match fs::metadata(&file) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = random_password().and_then(|text| Ok(text + &random_password()?)).map_err(failed)?;
            keep(folder, &file, &secret).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(file)
}

/// Whether no cluster can have been set up in this folder yet: it holds no shape and no store.
fn is_new(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name == "shape" || name.starts_with("store") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn random_password() -> io::Result<String> {
    let mut bytes = [0; LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(spelled(&bytes))
}

fn spelled(bytes: &[u8]) -> String {
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte & 31)).map_or('x', |letter| char::from(*letter));
    bytes.iter().map(letter).collect()
}

fn keep(folder: &Path, file: &Path, password: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    remove_if_there(&new)?;
    let mut handle = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(handle, "{password}")?;
    handle.sync_all()?;
    fs::rename(&new, file)?;
    File::open(folder)?.sync_all()
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_folder_is_private_and_an_old_one_is_left_as_it_is() {
        let base = tempfile::tempdir().unwrap();
        let made = create_folder(&base.path().join("a/b")).unwrap();
        assert_eq!(mode(&made), 0o700);
        fs::set_permissions(&made, fs::Permissions::from_mode(0o750)).unwrap();
        create_folder(&made).unwrap();
        assert_eq!(mode(&made), 0o750);
        fs::write(base.path().join("file"), "").unwrap();
        assert!(create_folder(&base.path().join("file")).is_err());
    }

    #[test]
    fn a_password_is_made_once_and_kept_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let RootPassword::Made(made) = root_password(folder.path(), None, None, false).unwrap() else {
            panic!("not made")
        };
        assert_eq!(made.len(), LENGTH);
        assert_eq!(mode(&folder.path().join(PASSWORD_FILE)), 0o600);
        assert_eq!(root_password(folder.path(), None, None, false).unwrap(), RootPassword::Kept(made.clone()));
        fs::create_dir(folder.path().join("store-0")).unwrap();
        assert_eq!(root_password(folder.path(), None, None, false).unwrap(), RootPassword::Kept(made));
    }

    #[test]
    fn two_passwords_differ() {
        assert_ne!(random_password().unwrap(), random_password().unwrap());
    }

    #[test]
    fn a_secret_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = kept_secret(folder.path(), "cluster-secret").unwrap();
        let made = fs::read_to_string(&file).unwrap();
        assert_eq!((made.trim().len(), mode(&file)), (2 * LENGTH, 0o600));
        kept_secret(folder.path(), "cluster-secret").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), made);
    }

    #[test]
    fn nodes_of_a_cluster_make_the_same_password() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shared = Some([9; 32]);
        let made = root_password(one.path(), None, shared, false).unwrap();
        assert_eq!(made.text().len(), LENGTH);
        assert_eq!(root_password(two.path(), None, shared, false).unwrap(), made);
        fs::write(two.path().join("shape"), "").unwrap();
        fs::remove_file(two.path().join(PASSWORD_FILE)).unwrap();
        assert_eq!(root_password(two.path(), None, shared, false).unwrap(), RootPassword::Shared(made.text().into()));
    }

    #[test]
    fn a_given_password_is_not_written_down() {
        let folder = tempfile::tempdir().unwrap();
        root_password(folder.path(), None, None, false).unwrap();
        assert_eq!(root_password(folder.path(), Some("p"), None, false).unwrap(), RootPassword::Given("p".into()));
        assert!(!folder.path().join(PASSWORD_FILE).exists());
    }

    #[test]
    fn a_cluster_that_is_set_up_over_http_is_made_no_password() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(root_password(folder.path(), None, None, true).unwrap(), RootPassword::AtSetup);
        assert!(!folder.path().join(PASSWORD_FILE).exists());
        assert_eq!(root_password(folder.path(), Some("p"), None, true).unwrap(), RootPassword::Given("p".into()));
    }

    #[test]
    fn a_folder_with_data_and_no_kept_password_needs_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("shape"), "").unwrap();
        assert_eq!(root_password(folder.path(), None, None, false).unwrap(), RootPassword::Unneeded);
    }
}
