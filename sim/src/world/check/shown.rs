//! What a run shows in `output/`.

use std::collections::{BTreeMap, BTreeSet};

use worker::contract::OUTPUT;
use worker::manifest::{Manifest, Role};
use worker::path::name_of;
use worker::workload::Outcome;

use super::Check;

impl Check<'_> {
    /// The next run removes from `output/` what this one says that it put there.
    pub(super) fn marked(&mut self, outputs: &BTreeMap<String, Vec<u8>>) {
        let path = self.paths.projected();
        let names = match self.record(&path).map(|record| record.outcome) {
            Ok(Outcome::Part(names)) => serde_json::from_slice::<Vec<String>>(&names).unwrap_or_default(),
            _ if self.watch.is_torn(&path) => return,
            _ => Vec::new(),
        };
        if !names.iter().eq(outputs.keys()) {
            self.say(format!("{path} does not hold the names that were put into {OUTPUT}"));
        }
    }
}

/// What the training datasets' checkpoints are called in `output/`: by the stem, and where that is taken by the
/// index too.
pub(super) fn names_of_checkpoints(manifest: &Manifest) -> Vec<(u32, String)> {
    let mut names = Vec::new();
    let mut taken = BTreeSet::new();
    for dataset in manifest.datasets.iter().filter(|dataset| dataset.role == Role::Train) {
        let file = name_of(&dataset.path);
        let stem = file.split('.').next().unwrap_or_default();
        let mut name = format!("model_cpt_{stem}");
        if !taken.insert(name.clone()) {
            name = format!("model_cpt_{stem}.{}", dataset.index);
        }
        names.push((dataset.index, name));
    }
    names
}
