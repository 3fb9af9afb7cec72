//! What the simulations that are built without the server have in common: their options, and how they are built.

use std::collections::BTreeMap;

use crate::steps::cargo;

/// The options of a ring's command.
pub struct Options {
    /// Every option that takes a number, by its name.
    numbers: BTreeMap<String, String>,
    /// A planted bug that is switched on.
    pub mutant: Option<String>,
    /// Every planted bug is looked for.
    pub campaign: bool,
}

impl Options {
    /// Reads the arguments. `numbers` are the options that take a number, with their defaults; `--jobs` is one of every ring.
    ///
    /// # Errors
    /// An option that the ring does not have, or one without its number.
    pub fn parse(ring: &str, numbers: &[(&str, u64)], args: &[String]) -> Result<Self, String> {
        let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
        let numbers = numbers.iter().copied().chain(std::iter::once(("--jobs", jobs)));
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number.to_string())).collect();
        let mut options = Self { numbers, mutant: None, campaign: false };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let mut number = || {
                let value = rest.next().filter(|value| value.parse::<u64>().is_ok());
                value.cloned().ok_or_else(|| format!("{arg} takes a number"))
            };
            match arg.as_str() {
                "--mutant" => options.mutant = Some(number()?),
                "--mutants" => options.campaign = true,
                name => match options.numbers.get_mut(name) {
                    Some(value) => *value = number()?,
                    None => return Err(format!("{ring}: no option '{name}'")),
                },
            }
        }
        Ok(options)
    }

    /// Arguments of the ring's binary: `command`, the named numbers, and the planted bug.
    pub fn arguments<'a>(&'a self, command: &'a str, names: &[&'a str]) -> Vec<&'a str> {
        let number = |name: &'a str| self.numbers.get(name).map(|value| [name, value.as_str()]);
        let numbers = names.iter().filter_map(|name| number(name)).flatten();
        let bug = self.mutant.iter().flat_map(|number| ["--mutant", number.as_str()]);
        std::iter::once(command).chain(numbers).chain(bug).collect()
    }

    /// Arguments of the ring's campaign, which writes its table into a page.
    pub fn campaign<'a>(&'a self, page: &'a str) -> Vec<&'a str> {
        let mut arguments = self.arguments("mutants", &["--jobs"]);
        arguments.extend(["--write", page]);
        arguments
    }

    /// Whether planted bugs must be compiled in.
    pub const fn is_planted(&self) -> bool {
        self.mutant.is_some() || self.campaign
    }
}

/// Builds a ring's binary in the development profile, in which what is simulated is optimised and its assertions are on.
///
/// # Errors
/// When it does not compile.
pub fn build(ring: &str, planted: bool) -> Result<String, String> {
    let mut args = vec!["build", "-p", "highwater-sim", "--bin", ring, "--no-default-features"];
    if planted {
        args.extend(["--features", "mutants"]);
    }
    cargo(&args)()?;
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    Ok(format!("{target}/debug/{ring}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Options::parse("ring9", &[("--seeds", 7), ("--from", 1)], &args)
    }

    #[test]
    fn what_is_not_given_has_its_default_and_what_is_unknown_is_refused() {
        let options = parsed(&["--jobs", "3", "--from", "20", "--mutant", "4"]).unwrap();
        let arguments = options.arguments("run", &["--seeds", "--from", "--jobs"]);
        assert_eq!(arguments.join(" "), "run --seeds 7 --from 20 --jobs 3 --mutant 4");
        assert!(options.is_planted() && !parsed(&[]).unwrap().is_planted());
        assert_eq!(parsed(&["--steps", "3"]).err().unwrap(), "ring9: no option '--steps'");
        assert_eq!(parsed(&["--seeds", "many"]).err().unwrap(), "--seeds takes a number");
        let campaign = parsed(&["--mutants", "--jobs", "2"]).unwrap();
        assert_eq!(campaign.campaign("page.md").join(" "), "mutants --jobs 2 --write page.md");
    }
}
