//! A simulated world: workers, which are `worker::run` itself, unchanged, in one thread under
//! virtual time, over a volume that behaves as NFS may and a queue that behaves as Redis may.
//! Whatever goes wrong is a pure function of a seed.
//!
//! The modules stand in layers, and each uses those of its own layer and of the layers above it here.

// Faults: what may go wrong in which world, as data.
pub mod clock;
pub mod dice;
pub mod fault;
pub mod oddity;
pub mod params;
pub mod schedule;
pub mod swarm;

// Environment: what machines share, and what is seen of them.
pub mod ask;
pub mod broken;
pub mod broker;
pub mod conduct;
pub mod ledger;
pub mod machine;
pub mod nfs;
pub mod operator;
pub mod scratch;
pub mod share;
pub mod site;
pub mod toy;
pub mod watch;
pub mod window;
pub mod words;
#[expect(clippy::module_inception, reason = "the world itself, among its parts")]
pub mod world;

// Injection: how faults come to calls.
mod forgetful;
pub mod injection;

// Oracle: what must hold on the way and in the end.
pub mod check;
pub mod duties;

// Driver: the worker's ports, and the order of events.
pub mod bucket;
pub mod inside;
pub mod queue;
pub mod run;
pub mod volume;

// Search: many worlds.
pub mod campaign;
pub mod mutants;
pub mod scale;
pub mod shrink;
pub mod story;

pub use world::{RUN, World};

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    /// The modules of each layer, as this file declares them, and what each of them imports from others.
    fn layers() -> Vec<BTreeMap<String, BTreeSet<String>>> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/world");
        let read = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.rs"))).unwrap();
        let declared = |line: &str| {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned)
        };
        let imported = |line: &str| {
            let rest = line.trim_start().strip_prefix("use super::")?;
            Some(rest.split([':', ';']).next()?.to_owned())
        };
        let mut layers = Vec::new();
        for block in read("mod").split("\n\n") {
            let modules: Vec<String> = block.lines().filter_map(declared).collect();
            let uses = |name: &String| {
                let text = read(name);
                let own = text.split("#[cfg(test)]").next().unwrap_or_default();
                own.lines().filter_map(imported).collect()
            };
            if !modules.is_empty() {
                layers.push(modules.iter().map(|name| (name.clone(), uses(name))).collect());
            }
        }
        layers
    }

    #[test]
    fn modules_use_their_own_layer_and_those_above_without_a_circle() {
        let layers = layers();
        assert_eq!(layers.len(), 6);
        let mut done: BTreeSet<String> = BTreeSet::new();
        for mut layer in layers {
            while !layer.is_empty() {
                let ready: Vec<String> = layer
                    .iter()
                    .filter(|(_, uses)| uses.is_subset(&done))
                    .map(|(name, _)| name.clone())
                    .collect();
                assert!(!ready.is_empty(), "a circle, or a use of a layer below: {layer:#?}");
                layer.retain(|name, _| !ready.contains(name));
                done.extend(ready);
            }
        }
        assert!(done.contains("run") && done.contains("campaign"));
    }
}
