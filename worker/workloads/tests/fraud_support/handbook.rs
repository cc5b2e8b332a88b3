//! The handbook's transactions, where they lie beside the checkout or in FRAUD_DATA: never in it.

use std::fs;
use std::path::{Path, PathBuf};

use engine::manifest::Role;
use engine::workload::Outcome;
use workloads::fraud::Fraud;

use super::{Chain, dataset, finish, part};

/// The folder of a data set (`handbook`, `tutorial`); says so where it is missing.
pub fn folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("FRAUD_DATA").map_or_else(beside, PathBuf::from).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: {} is missing; put the data there, or name its folder in FRAUD_DATA",
        folder.display()
    );
    None
}

/// Prepares each day of the folder.
pub fn chain(fraud: &Fraud, folder: &Path) -> Chain {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut chain = Chain::new(Vec::new());
    for (index, file) in (0..).zip(&files) {
        let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
        let dataset = dataset(index, &format!("datasets/training/{name}"), Role::Train);
        let content = fs::read(file).expect("a file");
        let Outcome::Part(bytes) = finish(fraud.prepare(&dataset, content)) else { panic!("{name} is good") };
        chain.prepared.push(part(index, bytes));
        chain.datasets.push(dataset);
    }
    chain
}
