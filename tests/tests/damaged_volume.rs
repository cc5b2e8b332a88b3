//! Files of a run that are flipped, cut, emptied, swapped or replaced while nobody looks. A worker
//! that needs such a file notices by its hash, and either recomputes it or stops and names it. A run that
//! ends well has the outputs of an undisturbed run, whatever the damage.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use sim::view::{View, public_names};
use tests::batch::{Batch, Crash, Play, RUN, undisturbed};
use tests::queue::{block_on, memory_in_real_time};
use worker::contract::{Exit, OUTPUT, RunPaths};
use worker::queue::Inbox;
use worker::queue::sqlite::Sqlite;
use worker::workload::fraud::PIPELINE;

/// What is done to a file; places are shares of its length.
#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Empty,
    /// With another file of the run.
    Swap(prop::sample::Index),
    Replace(Vec<u8>),
}

fn damages() -> impl Strategy<Value = Damage> {
    prop_oneof![
        3 => (any::<prop::sample::Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        1 => Just(Damage::Empty),
        3 => any::<prop::sample::Index>().prop_map(Damage::Swap),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Damage::Replace),
    ]
}

/// Puts bytes in the place of a file, as a new file: its other names keep what they had.
fn put(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("it was there");
    fs::write(path, bytes).expect("it is written");
}

/// Damages a file; returns the names of all damaged files.
fn damage(volume: &Path, names: &[String], which: &prop::sample::Index, damage: &Damage) -> Vec<String> {
    let name = &names[which.index(names.len())];
    let path = volume.join(name);
    let mut bytes = fs::read(&path).expect("a public file");
    match damage {
        Damage::Flip(at, bit) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Cut(at) if !bytes.is_empty() => bytes.truncate(at.index(bytes.len())),
        Damage::Flip(..) | Damage::Cut(_) | Damage::Empty => bytes.clear(),
        Damage::Swap(other) => {
            let other = &names[other.index(names.len())];
            let theirs = fs::read(volume.join(other)).expect("a public file");
            put(&volume.join(other), &bytes);
            put(&path, &theirs);
            return vec![name.clone(), other.clone()];
        }
        Damage::Replace(with) => bytes.clone_from(with),
    }
    put(&path, &bytes);
    vec![name.clone()]
}

fn outputs(view: &View) -> BTreeMap<&String, &Vec<u8>> {
    view.files.iter().filter(|(path, _)| path.starts_with(OUTPUT)).collect()
}

#[test]
fn damage_is_made_good_or_named_and_never_folded() {
    let batch = Batch::small(3);
    let expected = undisturbed(&batch);
    let (recomputed, named) = (Cell::new(0u32), Cell::new(0u32));
    let config = ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    // How many I/Os a run has, of which one is where the first worker goes.
    let calls = 800u64;
    proptest!(config, |(
        crash in any::<prop::sample::Index>(), hits in prop::collection::vec((any::<prop::sample::Index>(), damages()), 1..4),
    )| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let volume = folder.path();
        batch.stage(volume);
        let number = crash.index(calls as usize) as u64;
        let (damaged, ended) = block_on(async {
            let queue = memory_in_real_time();
            queue.push(&batch.trainings()).await.expect("pushed");
            let crashes = [Crash { number, before: false, of: None }];
            Play { crashes: &crashes, ..Play::quiet(volume) }.run(|| queue.clone()).await;
            let names = public_names(volume, RUN);
            let mut damaged = vec![];
            if !names.is_empty() {
                for (which, how) in &hits {
                    damaged.extend(damage(volume, &names, which, how));
                }
            }
            // Another queue, which remembers nothing: all that is known is on the volume.
            let queue = memory_in_real_time();
            queue.push(&batch.trainings()).await.expect("pushed");
            let ran = Play::quiet(volume).run(|| queue.clone()).await;
            (damaged, ran.ended)
        });
        let [ended] = &ended[..] else { panic!("{ended:?}") };
        match ended.exit {
            Exit::Finished => {
                recomputed.set(recomputed.get() + 1);
                let view = View::read(volume, RUN).expect("readable");
                prop_assert_eq!(outputs(&view), outputs(&expected), "{:?}", damaged);
            }
            Exit::Damaged | Exit::Version => {
                named.set(named.get() + 1);
                prop_assert!(damaged.iter().any(|name| ended.reason.contains(name)), "{:?}: {:?}", damaged, ended);
            }
            _ => prop_assert!(false, "{:?}: {:?}", damaged, ended),
        }
    });
    // Both happen, or the test looks at nothing.
    let (recomputed, named) = (recomputed.get(), named.get());
    assert!(recomputed > 20 && named > 5, "{recomputed} recomputed, {named} named");
}

/// What a loss of power does to a name that was not synced.
#[derive(Debug, Clone)]
enum Fate {
    Kept,
    Gone,
    Cut(prop::sample::Index),
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Kept), Just(Fate::Gone), any::<prop::sample::Index>().prop_map(Fate::Cut)]
}

/// Gives every result that can be recomputed its fate; returns how many were lost or cut.
fn lose_power(volume: &Path, fates: &[Fate]) -> usize {
    let paths = RunPaths::new(RUN);
    let stage = |stage| format!("{}/", paths.stage(PIPELINE.folder(stage)));
    let stages: Vec<String> = PIPELINE.stages().map(stage).collect();
    let mut names = public_names(volume, RUN);
    names.retain(|name| stages.iter().any(|stage| name.starts_with(stage)));
    let met = names.iter().zip(fates.iter().cycle());
    let damaged = met.filter(|(name, fate)| {
        let path = volume.join(name);
        match fate {
            Fate::Kept => return false,
            Fate::Gone => fs::remove_file(&path).expect("it was there"),
            Fate::Cut(at) => {
                let bytes = fs::read(&path).expect("a public file");
                put(&path, &bytes[..at.index(bytes.len().max(1))]);
            }
        }
        true
    });
    damaged.count()
}

/// On a disk of one machine, with the queue of that machine, which remembers what the volume forgot.
#[test]
fn what_went_with_the_power_is_made_again() {
    let batch = Batch::small(3);
    let expected = undisturbed(&batch);
    let damaged = Cell::new(0);
    // A run that never ends takes its time to fail.
    let config = ProptestConfig {
        cases: 60,
        max_shrink_iters: 2,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(number in 100..800u64, fates in prop::collection::vec(fates(), 1..16))| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let volume = folder.path();
        batch.stage(volume);
        let client = || Sqlite::open(&volume.join("queue.sqlite"), RUN).expect("a file of SQLite");
        let crashes = [Crash { number, before: false, of: None }];
        let until_then = Play { crashes: &crashes, lease: Duration::from_millis(50), ..Play::quiet(volume) };
        let ended = block_on(async {
            client().push(&batch.trainings()).await.expect("pushed");
            until_then.run(client).await;
            damaged.set(damaged.get() + lose_power(volume, &fates));
            Play { crashes: &[], ..until_then }.run(client).await.ended
        });
        prop_assert!(ended.iter().all(|ended| ended.exit == Exit::Finished), "{:?}", ended);
        let view = View::read(volume, RUN).expect("readable");
        prop_assert_eq!(outputs(&view), outputs(&expected));
    });
    assert!(damaged.get() > 60, "only {} files were lost or cut", damaged.get());
}
