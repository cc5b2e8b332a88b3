//! The local disk of a machine, as far as programs see it: where an attempt finds the state before, and leaves its output.
//! It outlives the machine's incarnations, as the folder for temporary files does. Nothing is ever removed: a worker
//! that was killed had no time for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use worker::hash::Hash;
use worker::mutant::Mutant;
use worker::workload::Part;

/// The disk.
#[derive(Debug, Default)]
pub struct Scratch {
    mutant: Option<Mutant>,
    folders: Mutex<BTreeMap<String, Vec<u8>>>,
}

/// The folders of an attempt, by name.
#[derive(Debug)]
pub struct Folders {
    output: String,
    previous: Option<String>,
}

impl Scratch {
    pub fn new(mutant: Option<Mutant>) -> Self {
        Self { mutant, folders: Mutex::default() }
    }

    /// Makes the folders of an attempt at a dataset: one for its output, and one with the state before.
    pub fn lay_out(&self, attempt: &str, index: u32, previous: Option<&Part>) -> Folders {
        let own = match self.mutant {
            Some(Mutant::LeaveEarlierOutput) => index.to_string(),
            _ => format!("{attempt}-{index}"),
        };
        let name_of_state = |part: &Part| match self.mutant {
            Some(Mutant::PreviousWritable) => format!("state-{}", Hash::of(&part.bytes)),
            _ => format!("{own}/previous"),
        };
        let folders = Folders { output: format!("{own}/output"), previous: previous.map(name_of_state) };
        let mut there = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        // An attempt that recomputes a torn commit begins with empty folders.
        if self.mutant != Some(Mutant::LeaveEarlierOutput) {
            there.remove(&folders.output);
        }
        there.entry(folders.output.clone()).or_default();
        if let (Some(name), Some(part)) = (&folders.previous, previous) {
            if self.mutant != Some(Mutant::PreviousWritable) {
                there.remove(name);
            }
            there.entry(name.clone()).or_insert_with(|| part.bytes.to_vec());
        }
        folders
    }

    /// What a program finds that starts now: the state before, and what its output folder holds already. It writes to both.
    pub fn start(&self, folders: &Folders) -> (Option<Vec<u8>>, Vec<u8>) {
        let mut there = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut write = |name: &String| {
            let bytes = there.entry(name.clone()).or_default();
            let found = bytes.clone();
            bytes.extend(b"written");
            found
        };
        (folders.previous.as_ref().map(&mut write), write(&folders.output))
    }
}
