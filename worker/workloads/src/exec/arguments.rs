//! What a program is started with: its arguments with the placeholders filled in, and its environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the placeholders and the variables of one item stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub run: String,
    /// The item's name, the same at every attempt: `train/3`.
    pub name: String,
    pub stage: String,
    pub index: u32,
    /// Datasets known when the attempt began. May differ between attempts.
    pub count: u32,
    pub seed: u32,
    /// Below this folder lies everything of the attempt.
    pub folder: PathBuf,
    /// The dataset's file name; `None` where the input is a folder that an earlier stage left.
    pub input: Option<String>,
    /// Whether there is a state to start from.
    pub has_previous: bool,
    /// Whether the stage reads the test datasets.
    pub has_tests: bool,
    pub grace_s: u64,
    /// Whether other platforms' variables are set as well.
    pub aliases: bool,
}

impl Item {
    pub fn input(&self) -> PathBuf {
        let folder = self.folder.join("input");
        self.input.as_ref().map_or_else(|| folder.clone(), |name| folder.join(name))
    }

    pub fn tests(&self) -> PathBuf {
        self.folder.join("tests")
    }

    pub fn previous(&self) -> PathBuf {
        self.folder.join("previous")
    }

    pub fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    pub fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// Appears when the machine is about to go.
    pub fn notice(&self) -> PathBuf {
        self.folder.join("notice")
    }

    pub fn params(&self) -> PathBuf {
        self.folder.join("params.json")
    }

    /// The arguments for this item. An argument with `{previous}` in it is left out where there is no state to
    /// start from, and so is the option before it.
    pub fn arguments(&self, command: &[String]) -> Vec<String> {
        let mut filled: Vec<String> = Vec::new();
        for (at, argument) in command.iter().enumerate() {
            if argument.contains("{previous}") && !self.has_previous {
                let is_option = |before: &String| before.starts_with('-') && !before.contains('=');
                // The program itself is no option.
                if at > 1 && !argument.starts_with('-') && command.get(at - 1).is_some_and(is_option) {
                    filled.pop();
                }
                continue;
            }
            filled.push(self.fill(argument));
        }
        filled
    }

    fn fill(&self, argument: &str) -> String {
        let text = |path: PathBuf| path.display().to_string();
        let values = [
            ("{input}", text(self.input())),
            ("{previous}", text(self.previous())),
            ("{output}", text(self.output())),
            ("{checkpoint}", text(self.checkpoint())),
            ("{tests}", text(self.tests())),
            ("{index}", self.index.to_string()),
            ("{seed}", self.seed.to_string()),
        ];
        // One pass, so that a value is never taken for a placeholder.
        let mut filled = String::new();
        let mut rest = argument;
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            match values.iter().find(|(name, _)| rest.starts_with(name)) {
                Some((name, value)) => {
                    filled.push_str(value);
                    rest = &rest[name.len()..];
                }
                None => {
                    filled.push('{');
                    rest = &rest[1..];
                }
            }
        }
        filled + rest
    }

    /// The variables that tell a program of its item. `starts` counts how often it was started for it before.
    pub fn environment(&self, starts: u32) -> BTreeMap<String, String> {
        let text = |path: PathBuf| path.display().to_string();
        let mut variables = BTreeMap::from([
            ("BATCH_RUN", self.run.clone()),
            ("BATCH_ITEM", self.name.clone()),
            ("BATCH_STAGE", self.stage.clone()),
            ("BATCH_INDEX", self.index.to_string()),
            ("BATCH_COUNT", self.count.to_string()),
            ("BATCH_ATTEMPT", starts.to_string()),
            ("BATCH_SEED", self.seed.to_string()),
            ("BATCH_INPUT", text(self.input())),
            ("BATCH_OUTPUT", text(self.output())),
            ("BATCH_CHECKPOINT", text(self.checkpoint())),
            ("BATCH_NOTICE", text(self.notice())),
            ("BATCH_GRACE_SECONDS", self.grace_s.to_string()),
            ("BATCH_PARAMS", text(self.params())),
        ]);
        if self.has_previous {
            variables.insert("BATCH_PREVIOUS", text(self.previous()));
        }
        if self.has_tests {
            variables.insert("BATCH_TESTS", text(self.tests()));
        }
        if self.aliases {
            variables.extend(ALIASES.map(|(alias, name)| (alias, variables[name].clone())));
            // The one that counts from 1.
            variables.insert("AWS_BATCH_JOB_ATTEMPT", starts.saturating_add(1).to_string());
        }
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Variables of other platforms, for programs that were written for them, and ours that say the same.
const ALIASES: [(&str, &str); 9] = [
    ("CLOUD_RUN_TASK_INDEX", "BATCH_INDEX"),
    ("CLOUD_RUN_TASK_COUNT", "BATCH_COUNT"),
    ("CLOUD_RUN_TASK_ATTEMPT", "BATCH_ATTEMPT"),
    ("BATCH_TASK_INDEX", "BATCH_INDEX"),
    ("BATCH_TASK_COUNT", "BATCH_COUNT"),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "BATCH_INDEX"),
    ("SLURM_ARRAY_TASK_ID", "BATCH_INDEX"),
    ("SKYPILOT_TASK_ID", "BATCH_ITEM"),
    ("FLYTE_ATTEMPT_NUMBER", "BATCH_ATTEMPT"),
];

/// What makes equal inputs give equal bytes in many programs, unless the user says otherwise: constants for
/// Python's hashes, threads, time zone and locale.
pub const CONSTANTS: [(&str, &str); 6] = [
    ("PYTHONHASHSEED", "0"),
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("TZ", "UTC"),
    ("LC_ALL", "C.UTF-8"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn item(index: u32) -> Item {
        Item {
            run: "1".to_owned(),
            name: format!("train/{index}"),
            stage: "train".to_owned(),
            index,
            count: 3,
            seed: 7,
            folder: "/s".into(),
            input: Some("day {index}.csv".to_owned()),
            has_previous: index > 0,
            has_tests: false,
            grace_s: 15,
            aliases: false,
        }
    }

    fn filled(index: u32, command: &[&str]) -> String {
        let command: Vec<String> = command.iter().map(|text| (*text).to_owned()).collect();
        item(index).arguments(&command).join(" ")
    }

    #[test]
    fn the_first_item_has_no_previous_state() {
        let command = ["python", "train.py", "--init", "{previous}", "--out", "{output}/model"];
        assert_eq!(filled(0, &command), "python train.py --out /s/output/model");
        assert_eq!(filled(1, &command), "python train.py --init /s/previous --out /s/output/model");
        let command = ["sh", "train.sh", "--init={previous}/model", "{previous}", "-v", "{previous}"];
        assert_eq!(filled(0, &command), "sh train.sh");
        assert_eq!(filled(0, &["train", "{input}", "{previous}"]), "train /s/input/day {index}.csv");
        assert_eq!(filled(0, &["-train", "{previous}"]), "-train");
        assert!(!item(0).environment(0).contains_key("BATCH_PREVIOUS"));
        assert_eq!(item(1).environment(0)["BATCH_PREVIOUS"], "/s/previous");
    }

    #[test]
    fn other_braces_stay_and_values_are_not_filled_in_again() {
        assert_eq!(
            filled(2, &["p", "{a: {seed}}", "{{index}}", "{", "{input}"]),
            "p {a: 7} {2} { /s/input/day {index}.csv"
        );
    }

    #[test]
    fn a_stage_after_another_reads_folders() {
        let after = Item { input: None, has_tests: true, ..item(1) };
        let command = ["eval", "{input}/model", "{tests}"].map(str::to_owned);
        assert_eq!(after.arguments(&command).join(" "), "eval /s/input/model /s/tests");
        assert_eq!(after.environment(0)["BATCH_TESTS"], "/s/tests");
        assert!(!item(1).environment(0).contains_key("BATCH_TESTS"));
    }

    #[test]
    fn other_platforms_variables_are_set_where_that_is_asked_for() {
        assert!(!item(1).environment(2).contains_key("CLOUD_RUN_TASK_INDEX"));
        let variables = Item { aliases: true, ..item(1) }.environment(2);
        let values = [
            "CLOUD_RUN_TASK_INDEX",
            "CLOUD_RUN_TASK_ATTEMPT",
            "AWS_BATCH_JOB_ATTEMPT",
            "SLURM_ARRAY_TASK_ID",
        ];
        assert_eq!(values.map(|name| variables[name].as_str()), ["1", "2", "3", "1"]);
    }
}
