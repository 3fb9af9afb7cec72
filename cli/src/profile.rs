//! Profiles: servers under names, with their users and passwords, in one TOML file that only its owner may read.
//!
//! `$XDG_CONFIG_HOME/highwater/profiles.toml`, else `~/.config/highwater/profiles.toml`; `HIGHWATER_PROFILES` names another. A file
//! that others may read or write is refused, not repaired: what was in it may be known already. It is replaced as a whole.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// One server under a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// File of the authorities that sign the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cacert: Option<PathBuf>,
}

impl Profile {
    /// Its password, for its own user at its own server: nobody else gets it.
    pub(crate) fn password_for(&self, user: &str, base: &str) -> Option<&str> {
        let is_own = self.user.as_ref().is_none_or(|known| known == user)
            && self.url.as_deref().is_none_or(|known| known.trim_end_matches('/') == base);
        self.password.as_deref().filter(|_| is_own)
    }
}

/// All profiles, and which one is used unless another is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default, rename = "profile")]
    pub(crate) profiles: BTreeMap<String, Profile>,
}

/// Where profiles are kept; `None` without a home.
pub(crate) fn path() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("HIGHWATER_PROFILES").or_else(|| {
        let config = from("XDG_CONFIG_HOME").or_else(|| Some(from("HOME")?.join(".config")))?;
        Some(config.join("highwater/profiles.toml"))
    })
}

impl Profiles {
    /// Those of the file; none if there is no file.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
        };
        let mode = std::fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777).unwrap_or(0o777);
        if mode & 0o077 != 0 {
            return Err(Failure::Usage {
                message: format!(
                    "{} holds passwords and is open to others (its mode is {mode:o}, not 600)",
                    path.display()
                ),
                hint: Some(format!("chmod 600 {}; change the passwords if others use this machine", path.display())),
            });
        }
        toml::from_str(&text).map_err(|error| {
            let place = error.span().map_or(0, |span| text.get(..span.start).unwrap_or("").matches('\n').count() + 1);
            Failure::usage(format!("{} line {place}: {}", path.display(), error.message()))
        })
    }

    /// Writes the file anew, beside the old one and then in its place, readable by its owner only.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::usage(format!("cannot write {}: {error}", path.display()));
        let text = toml::to_string_pretty(self).map_err(|error| failed(&error))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        // Temporary files are made with mode 600.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
        file.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
        file.persist(path).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// The profile of this name, else the current one, else an empty one.
    pub(crate) fn choose(&self, name: Option<&str>) -> Result<Profile, Failure> {
        let Some(name) = name.or(self.current.as_deref()) else { return Ok(Profile::default()) };
        self.profiles.get(name).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            Failure::Usage {
                message: format!("there is no profile {name:?}"),
                hint: Some(if known.is_empty() {
                    "highwater ctx add NAME --url URL --user USER makes one".to_owned()
                } else {
                    format!("there are: {}", known.join(", "))
                }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn two() -> Profiles {
        let profile =
            |url: &str| Profile { url: Some(url.to_owned()), password: Some("s3cret".into()), ..Profile::default() };
        let profiles = BTreeMap::from([("a".into(), profile("http://a:1")), ("b".into(), profile("https://b:2"))]);
        Profiles { current: Some("a".into()), profiles }
    }

    #[test]
    fn profiles_are_written_for_their_owner_only_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/profiles.toml");
        assert_eq!(Profiles::load(&path).unwrap(), Profiles::default());
        two().save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Profiles::load(&path).unwrap(), two());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        two().save(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let failure = Profiles::load(&path).unwrap_err();
            assert!(failure.to_string().contains("open to others"), "{failure}");
            assert!(failure.hint().unwrap().starts_with("chmod 600"));
        }
    }

    #[test]
    fn a_mistake_in_the_file_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profiles.toml");
        two().save(&path).unwrap();
        std::fs::write(&path, "[profile.a]\nurl = \"http://a:1\"\nusr = \"x\"\n").unwrap();
        let failure = Profiles::load(&path).unwrap_err().to_string();
        assert!(failure.contains("line 3") && failure.contains("usr"), "{failure}");
    }

    #[test]
    fn the_named_profile_wins_over_the_current_one() {
        assert_eq!(two().choose(Some("b")).unwrap().url.unwrap(), "https://b:2");
        assert_eq!(two().choose(None).unwrap().url.unwrap(), "http://a:1");
        assert_eq!(Profiles::default().choose(None).unwrap(), Profile::default());
        let failure = two().choose(Some("c")).unwrap_err();
        assert_eq!(failure.hint(), Some("there are: a, b"));
    }
}
