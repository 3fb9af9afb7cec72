//! `highwater ctx`: the profiles, looked at and changed.

use crate::args::{ContextAction, Server, base_url};
use crate::failure::Failure;
use crate::password;
use crate::profile::{Profile, Profiles, path};

/// Does what was asked, and says what is to be printed.
pub(crate) fn run(action: &ContextAction, server: &Server, can_ask: bool) -> Result<String, Failure> {
    let path =
        path().ok_or_else(|| Failure::usage("there is no home: HIGHWATER_PROFILES names the file of profiles"))?;
    let mut profiles = Profiles::load(&path)?;
    let answer = match action {
        ContextAction::List => return Ok(list(&profiles)),
        ContextAction::Add { name, .. } if name.trim().is_empty() => {
            return Err(Failure::usage("a profile needs a name"));
        }
        ContextAction::Add { name, ask } => {
            let mut password = server.password.clone();
            if *ask {
                if !can_ask {
                    return Err(Failure::usage("--ask needs a terminal; HIGHWATER_PASSWORD is kept if it is set"));
                }
                password = Some(password::ask(&format!("Password of {}: ", server.user.as_deref().unwrap_or("root")))?);
            }
            let url = server.url.as_deref().map(base_url).transpose()?;
            let cacert = server.cacert.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
            let (user, namespace) = (server.user.clone(), server.namespace.clone());
            let before = profiles.profiles.insert(name.clone(), Profile { url, user, password, namespace, cacert });
            profiles.current.get_or_insert_with(|| name.clone());
            let instead = if before.is_some() { ", in place of the one before" } else { "" };
            format!("{name} is kept in {}{instead}\n", path.display())
        }
        ContextAction::Use { name } => {
            profiles.choose(Some(name))?;
            profiles.current = Some(name.clone());
            format!("{name} is used from now on\n")
        }
        ContextAction::Remove { name } => {
            profiles.choose(Some(name))?;
            profiles.profiles.remove(name);
            profiles.current.take_if(|current| current == name);
            format!("{name} is forgotten\n")
        }
    };
    profiles.save(&path)?;
    Ok(answer)
}

/// One line each, without passwords.
fn list(profiles: &Profiles) -> String {
    if profiles.profiles.is_empty() {
        return "there are no profiles; highwater ctx add NAME --url URL --user USER --ask makes one\n".to_owned();
    }
    let lines = profiles.profiles.iter().map(|(name, profile)| {
        let mark = if profiles.current.as_ref() == Some(name) { "*" } else { " " };
        format!(
            "{mark} {name}  {} as {}{}{}\n",
            profile.url.as_deref().unwrap_or("http://127.0.0.1:2900"),
            profile.user.as_deref().unwrap_or("root"),
            profile.namespace.as_ref().map_or(String::new(), |namespace| format!(", namespace {namespace}")),
            if profile.password.is_some() { ", with its password" } else { "" }
        )
    });
    lines.collect()
}
