//! Where values come from: flags win over the environment, the environment over the file, the file over defaults.
//!
//! A name that no setting has is refused, with the name that was probably meant.

use std::collections::BTreeMap;

use super::ConfigError;
use super::settings::DEFINITIONS;

/// Variables with our prefix that are not the server's: the shell, the tests and the simulator read them.
const FOREIGN: [&str; 3] = ["HIGHWATER_CONFIG", "HIGHWATER_URL", "HIGHWATER_USER"];
/// Prefixes of such variables.
const FOREIGN_PREFIXES: [&str; 4] = ["HIGHWATER_PASSWORD", "HIGHWATER_CLI_", "HIGHWATER_SIM_", "HIGHWATER_TEST_"];

/// Who gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// The configuration file of this name.
    File(String),
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) | Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Origin {
    /// Where to look for a value of the setting `name`, for an error.
    pub(super) fn place(&self, name: &str) -> String {
        match self {
            Self::Default => format!("the default of {name}"),
            Self::File(file) => format!("{name} in {file}"),
            Self::Environment(variable) => variable.clone(),
            Self::Flag(flag) => flag.clone(),
        }
    }
}

/// A value's text and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The text.
    pub text: String,
    /// Who gave it.
    pub origin: Origin,
}

/// The values that win, by setting.
#[derive(Clone, Debug, Default)]
pub struct Merged(BTreeMap<&'static str, Given>);

impl Merged {
    /// What was given for a setting.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    /// Takes the values of a TOML file. Call this first: what is added later wins.
    ///
    /// # Errors
    /// Bad TOML, an unknown key, a value that is neither text, number, boolean nor a list of these.
    pub fn add_file(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            file: file.to_owned(),
            message: error.to_string(),
        })?;
        self.add_table(file, "", &table)
    }

    fn add_table(&mut self, file: &str, prefix: &str, table: &toml::Table) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            if let toml::Value::Table(inner) = value
                && DEFINITIONS.iter().any(|definition| definition.name.starts_with(&format!("{name}.")))
            {
                self.add_table(file, &name, inner)?;
                continue;
            }
            let known = known_setting(&name).ok_or_else(|| ConfigError::UnknownKey {
                place: file.to_owned(),
                suggestion: nearest(&name, DEFINITIONS.iter().map(|definition| definition.name.to_owned())),
                name: name.clone(),
            })?;
            let text = scalar(value).ok_or_else(|| ConfigError::BadValue {
                place: format!("{name} in {file}"),
                value: value.to_string(),
                reason: "is not a text, a number, a boolean or a list of these".into(),
            })?;
            self.0.insert(known, Given { text, origin: Origin::File(file.to_owned()) });
        }
        Ok(())
    }

    /// Takes the values of environment variables that start with `HIGHWATER_`; others are not ours.
    ///
    /// # Errors
    /// A variable with our prefix that no setting has.
    pub fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (variable, text) in variables {
            if !variable.starts_with("HIGHWATER_")
                || FOREIGN.contains(&variable.as_str())
                || FOREIGN_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
            {
                continue;
            }
            let known =
                DEFINITIONS.iter().find(|definition| definition.environment() == variable).ok_or_else(|| {
                    ConfigError::UnknownKey {
                        place: "the environment".into(),
                        suggestion: nearest(&variable, DEFINITIONS.iter().map(super::Definition::environment)),
                        name: variable.clone(),
                    }
                })?;
            self.0.insert(known.name, Given { text, origin: Origin::Environment(variable) });
        }
        Ok(())
    }

    /// Takes a flag's value for a setting.
    ///
    /// # Errors
    /// A name that no setting has (`--set` takes any).
    pub fn add_flag(&mut self, flag: &str, name: &str, text: &str) -> Result<(), ConfigError> {
        let known = known_setting(name).ok_or_else(|| ConfigError::UnknownKey {
            place: flag.to_owned(),
            suggestion: nearest(name, DEFINITIONS.iter().map(|definition| definition.name.to_owned())),
            name: name.to_owned(),
        })?;
        self.0.insert(known, Given { text: text.to_owned(), origin: Origin::Flag(flag.to_owned()) });
        Ok(())
    }
}

fn known_setting(name: &str) -> Option<&'static str> {
    DEFINITIONS.iter().map(|definition| definition.name).find(|known| *known == name)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => {
            let mut text = items.iter().map(scalar).collect::<Option<Vec<_>>>()?.join(",");
            if items.len() == 1 {
                text.push(',');
            }
            Some(text)
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// The candidate that was probably meant: near in spelling, or equal but for its table or separators.
fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let plain = |text: &str| text.replace(['-', '.', '_'], "").to_ascii_lowercase();
    candidates
        .map(|candidate| {
            let (a, b) = (plain(name), plain(&candidate));
            let similarity = if a == b || b.ends_with(&a) { 1.0 } else { strsim::jaro_winkler(&a, &b) };
            (similarity, candidate)
        })
        .filter(|(similarity, _)| *similarity > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
