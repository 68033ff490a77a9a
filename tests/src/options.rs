//! The runner's command line.

use crate::steps::STEPS;

/// Printed by `--help` and after a mistake.
pub(crate) const USAGE: &str = "\
usage: cargo run --release -p bissl-tests -- [OPTIONS]

  --list            name the steps and what they check
  --only NAME...    run only these steps
  --skip NAME...    leave these steps out
  --no-bare-metal   leave the step `bare-metal` out; without this a missing target is
                    fetched, and a target that cannot be had is a failure
  --no-boards       leave the step `boards` out; without this a missing emulator is fetched
  --no-device       leave the step `test-device` out; without this a missing driver is fetched
  --help            this text
";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Run steps.
    Run(Options),
    /// Name the steps.
    List,
    /// Explain the options.
    Help,
}

/// Which steps to run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// If not empty, only these steps.
    only: Vec<String>,
    skip: Vec<String>,
}

impl Options {
    /// Whether the step of this name is to be run.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|given| given == name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }
}

/// Reads the arguments that follow the program's name.
///
/// # Errors
/// The argument that is not understood, and the ones that are.
pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut options = Options::default();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let names = match argument.as_str() {
            "--list" => return Ok(Command::List),
            "--help" | "-h" => return Ok(Command::Help),
            "--no-bare-metal" => {
                options.skip.push("bare-metal".to_owned());
                continue;
            }
            "--no-boards" => {
                options.skip.push("boards".to_owned());
                continue;
            }
            "--no-device" => {
                options.skip.push("test-device".to_owned());
                continue;
            }
            "--only" => &mut options.only,
            "--skip" => &mut options.skip,
            other => return Err(format!("unknown argument `{other}`")),
        };
        let before = names.len();
        while let Some(name) = arguments.next_if(|next| !next.starts_with('-')) {
            if !STEPS.iter().any(|step| step.name == name) {
                let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
                return Err(format!("no step `{name}`; the steps are {}", known.join(", ")));
            }
            names.push(name);
        }
        if names.len() == before {
            return Err(format!("`{argument}` needs the name of a step"));
        }
    }
    if STEPS.iter().any(|step| options.takes(step.name)) {
        Ok(Command::Run(options))
    } else {
        Err("these options leave no step to run".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    fn taken(line: &str) -> Vec<&'static str> {
        let Ok(Command::Run(options)) = parsed(line) else { panic!("`{line}` must run") };
        STEPS.iter().map(|step| step.name).filter(|name| options.takes(name)).collect()
    }

    #[test]
    fn without_options_every_step_is_taken() {
        assert_eq!(taken("").len(), STEPS.len());
    }

    #[test]
    fn only_and_skip_take_several_names() {
        assert_eq!(taken("--only format bare-metal --skip bare-metal"), ["format"]);
        assert_eq!(taken("--no-bare-metal").len(), STEPS.len() - 1);
        assert_eq!(taken("--no-boards").len(), STEPS.len() - 1);
        assert_eq!(taken("--no-device").len(), STEPS.len() - 1);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parsed("--only formt").is_err_and(|message| message.contains("formt")));
        assert!(parsed("--only").is_err_and(|message| message.contains("--only")));
        assert!(parsed("--fast").is_err_and(|message| message.contains("--fast")));
        assert!(parsed("--only format --skip format").is_err());
    }

    #[test]
    fn step_names_are_distinct() {
        for (i, step) in STEPS.iter().enumerate() {
            assert!(STEPS[..i].iter().all(|earlier| earlier.name != step.name), "{}", step.name);
        }
    }
}
