//! A volume's client that has forgotten one of the protocol's rules.

use worker::mutant::Mutant;

use super::nfs::Call;
use super::world::World;

impl World {
    /// What such a client asks in place of what its worker asks.
    pub(super) fn misplace(&self, call: Call) -> Call {
        match call {
            Call::Link(from, to) if self.breaks(Mutant::CommitByRename) => Call::Rename(from, to),
            Call::Flush { file, bytes, .. } if self.breaks(Mutant::SkipFsync) => {
                Call::Flush { file, bytes, sync: false }
            }
            call if self.breaks(Mutant::StagesShareAPlace) => {
                call.renamed(|path| path.replace("/joined", "/prepared"))
            }
            call if self.breaks(Mutant::ReusePrivateNames) => call.renamed(|path| forget_attempt(&path)),
            call if self.breaks(Mutant::ShareEventFiles) => call.renamed(|path| forget_nonce(&path)),
            call => call,
        }
    }

    /// Whether a file is created without O_EXCL.
    pub(super) fn is_shared(&self, path: &str) -> bool {
        (self.breaks(Mutant::ReusePrivateNames) && path.contains("/attempts/"))
            || (self.breaks(Mutant::ShareEventFiles) && path.contains("/events/"))
    }
}

/// A private name without token and nonce: `fold-7-<nonce>-0` becomes `fold-0`, and `fold-7-<nonce>/0` becomes
/// `fold/0`.
fn forget_attempt(path: &str) -> String {
    let Some((before, name)) = path.split_once("/attempts/") else { return path.to_owned() };
    let (name, rest) = name.split_at(name.find('/').unwrap_or(name.len()));
    match name.split('-').collect::<Vec<_>>()[..] {
        [item, _, _] => format!("{before}/attempts/{item}{rest}"),
        [item, _, _, number] => format!("{before}/attempts/{item}-{number}"),
        _ => path.to_owned(),
    }
}

/// A file of events of all who have the worker's name.
fn forget_nonce(path: &str) -> String {
    let name = path.split_once("/events/worker-").and_then(|(before, name)| {
        let (worker, _) = name.split_once('-')?;
        Some(format!("{before}/events/worker-{worker}.jsonl"))
    });
    name.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_attempts_and_incarnations_apart_is_forgotten() {
        let cases = [
            ("runs/a-b/attempts/fold-7-0f-12", "runs/a-b/attempts/fold-12"),
            ("runs/a-b/attempts/prepare.3-7-0f/2", "runs/a-b/attempts/prepare.3/2"),
            ("runs/a-b/attempts/prepare.3-7-0f", "runs/a-b/attempts/prepare.3"),
            ("runs/a-b/attempts/probe-0f", "runs/a-b/attempts/probe-0f"),
            ("runs/a-b/attempts", "runs/a-b/attempts"),
        ];
        for (path, forgotten) in cases {
            assert_eq!(forget_attempt(path), forgotten);
        }
        assert_eq!(forget_nonce("runs/r/events/worker-2-0f.jsonl"), "runs/r/events/worker-2.jsonl");
        assert_eq!(forget_nonce("runs/r/joined/2"), "runs/r/joined/2");
    }
}
