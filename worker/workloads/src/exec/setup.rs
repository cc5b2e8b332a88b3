//! What decides a program's results beside the datasets and its own files; recorded in the manifest.

use std::collections::BTreeMap;

use super::arguments::CONSTANTS;

/// The parameters in a manifest: each command as a JSON list, whether the results are declared deterministic, whether
/// other platforms' variables are set, and the environment's variables under this prefix.
const DETERMINISTIC: &str = "deterministic";
const ALIASES: &str = "aliases";
const ENVIRONMENT: &str = "env.";

/// The user's commands, by stage. There is a `prepare` or a `train`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commands {
    pub prepare: Option<Vec<String>>,
    pub train: Option<Vec<String>>,
    pub evaluate: Option<Vec<String>>,
    pub report: Option<Vec<String>>,
}

impl Commands {
    /// Each with its name, which is its stage's.
    pub fn named(&self) -> [(&'static str, Option<&Vec<String>>); 4] {
        let Self { prepare, train, evaluate, report } = self;
        [("prepare", prepare), ("train", train), ("evaluate", evaluate), ("report", report)]
            .map(|(name, command)| (name, command.as_ref()))
    }

    /// The command of a stage; `None` for a stage that needs none.
    pub(super) fn of(&self, stage: &str) -> Option<&Vec<String>> {
        self.named().into_iter().find(|(name, _)| *name == stage)?.1
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub commands: Commands,
    pub deterministic: bool,
    /// Whether the variables of other platforms are set as well.
    pub aliases: bool,
    pub environment: BTreeMap<String, String>,
}

impl Setup {
    /// As [`engine::workload::Workload::params`] has it.
    pub fn params(&self) -> BTreeMap<String, String> {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let mut params = BTreeMap::from([
            (DETERMINISTIC.to_owned(), yes(self.deterministic)),
            (ALIASES.to_owned(), yes(self.aliases)),
        ]);
        for (name, command) in self.commands.named() {
            // A list of strings: writing it as JSON cannot fail.
            let text = command.map(|command| serde_json::to_string(command).unwrap_or_default());
            params.extend(text.map(|text| (name.to_owned(), text)));
        }
        let variables = self.environment.iter();
        params.extend(variables.map(|(name, value)| (format!("{ENVIRONMENT}{name}"), value.clone())));
        params
    }

    /// # Errors
    /// Names the parameter that is missing or has no such value.
    pub fn parse(params: &BTreeMap<String, String>) -> Result<Self, String> {
        let command = |name: &str| -> Result<Option<Vec<String>>, String> {
            let Some(text) = params.get(name) else { return Ok(None) };
            let list = serde_json::from_str(text);
            list.map(Some).map_err(|error| format!("the parameter {name} is no list of arguments: {error}"))
        };
        let commands = Commands {
            prepare: command("prepare")?,
            train: command("train")?,
            evaluate: command("evaluate")?,
            report: command("report")?,
        };
        if commands.prepare.is_none() && commands.train.is_none() {
            return Err("there is neither a parameter train nor prepare: no command is given".to_owned());
        }
        let is_yes = |name: &str| params.get(name).is_some_and(|text| text == "yes");
        let variables = params
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(ENVIRONMENT)?.to_owned(), value.clone())));
        Ok(Self {
            commands,
            deterministic: is_yes(DETERMINISTIC),
            aliases: is_yes(ALIASES),
            environment: variables.collect(),
        })
    }

    /// The variables of every command: the constants, and over them the user's.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.environment.clone();
        for (name, value) in CONSTANTS {
            variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        variables
    }

    pub(super) fn params_json(&self) -> String {
        serde_json::to_string(&self.params()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_variables_replace_the_constants() {
        let setup = Setup {
            commands: Commands::default(),
            deterministic: true,
            aliases: false,
            environment: BTreeMap::from([("TZ".to_owned(), "Asia/Tokyo".to_owned())]),
        };
        let variables = setup.variables();
        assert_eq!((variables["TZ"].as_str(), variables["LC_ALL"].as_str()), ("Asia/Tokyo", "C.UTF-8"));
    }

    #[test]
    fn the_setup_reads_back_from_a_manifests_parameters() {
        let words = |text: &str| Some(text.split(' ').map(str::to_owned).collect());
        let setup = Setup {
            commands: Commands {
                prepare: None,
                train: words("python train.py {input}"),
                evaluate: words("eval {tests}"),
                report: words("tell {input}"),
            },
            deterministic: false,
            aliases: true,
            environment: BTreeMap::from([("A".to_owned(), "b=c".to_owned())]),
        };
        assert_eq!(Setup::parse(&setup.params()), Ok(setup));
        assert!(Setup::parse(&BTreeMap::new()).unwrap_err().contains("no command"));
    }
}
