//! A volume's client that has forgotten one of the protocol's rules.

use worker::breakage::Breakage;

use super::World;
use super::nfs::Call;

impl World {
    /// What such a client asks in place of what its worker asks.
    pub(super) fn misplace(&self, call: Call) -> Call {
        match call {
            Call::Link(from, to) if self.breaks(Breakage::CommitByRename) => Call::Rename(from, to),
            Call::Flush { file, bytes, .. } if self.breaks(Breakage::SkipFsync) => {
                Call::Flush { file, bytes, sync: false }
            }
            call if self.breaks(Breakage::StagesShareAPlace) => {
                call.renamed(|path| path.replace("/joined", "/prepared"))
            }
            call if self.breaks(Breakage::ReusePrivateNames) => {
                call.renamed(|path| shorten(&path, "/attempts/", "-", ""))
            }
            call if self.breaks(Breakage::ShareEventFiles) => {
                call.renamed(|path| shorten(&path, "/events/worker-", "-", ".jsonl"))
            }
            call => call,
        }
    }

    /// Whether a file is created without O_EXCL.
    pub(super) fn is_shared(&self, path: &str) -> bool {
        (self.breaks(Breakage::ReusePrivateNames) && path.contains("/attempts/"))
            || (self.breaks(Breakage::ShareEventFiles) && path.contains("/events/"))
    }
}

/// Cuts, out of the name that follows `folder`, everything from `cut` to the next slash.
fn shorten(path: &str, folder: &str, cut: &str, end: &str) -> String {
    let Some((before, name)) = path.split_once(folder) else { return path.to_owned() };
    let (name, rest) =
        name.split_once('/').map_or((name, String::new()), |(name, rest)| (name, format!("/{rest}")));
    let Some((kept, _)) = name.split_once(cut) else { return path.to_owned() };
    if kept == "probe" { path.to_owned() } else { format!("{before}{folder}{kept}{end}{rest}") }
}
