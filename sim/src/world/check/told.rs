//! Whether workers recorded all that they did.

use std::collections::BTreeMap;

use worker::contract::{FORMAT_VERSION, RunPaths};
use worker::events::What;

use super::super::broken::Broken;
use super::super::fault::FaultKind;
use super::super::nfs::Server;
use super::super::world::{RUN, World};

/// A worker that ended by itself has written all of its events to its own file, unless the volume failed.
pub fn events(world: &World, server: &Server) -> Vec<Broken> {
    if world.has_faults(FaultKind::is_of_volume) {
        return Vec::new();
    }
    let folder = RunPaths::new(RUN).events();
    // A bucket has a long log in several objects, whose names go on after `_`.
    let mut logs: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for name in server.names(&folder) {
        let stem = name.split('_').next().unwrap_or(name).trim_end_matches(".jsonl");
        let bytes = server.bytes(&format!("{folder}/{name}")).unwrap_or_default();
        logs.entry(stem).or_default().extend(bytes);
    }
    let mut complete: BTreeMap<String, usize> = BTreeMap::new();
    for worker in logs.values().filter_map(|log| worker_if_complete(log)) {
        *complete.entry(worker).or_default() += 1;
    }
    // A machine that went in the middle of its last write may have written all, and is none that ended by itself.
    let silent = world.watch.ended().into_iter();
    let silent = silent.filter(|(name, ended)| complete.get(name).is_none_or(|complete| complete < ended));
    silent.map(|(name, _)| Broken::effect(format!("the events of {name} are not all there"))).collect()
}

/// Version and number of a whole line. They stand at its beginning; to read all of it would be a twentieth of a schedule's
/// cost.
fn numbered(line: &[u8]) -> Option<(u32, u64)> {
    let (version, rest) = number(line.strip_suffix(b"}")?.strip_prefix(b"{\"v\":")?)?;
    let (_, rest) = number(rest.strip_prefix(b",\"at_ms\":")?)?;
    let worker = rest.strip_prefix(b",\"worker\":\"")?;
    let end = worker.iter().position(|byte| *byte == b'"')?;
    let (seq, _) = number(worker[end..].strip_prefix(b"\",\"seq\":")?)?;
    Some((u32::try_from(version).ok()?, seq))
}

/// The number that a text begins with, and the rest.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// The worker whose event file this is, if the file has every event to the worker's exit. A line that was written twice
/// counts once.
fn worker_if_complete(bytes: &[u8]) -> Option<String> {
    let lines = || bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut next = 0;
    for (version, seq) in lines().filter_map(numbered) {
        match seq {
            _ if version != FORMAT_VERSION => {}
            seq if seq > next => return None,
            seq => next = next.max(seq + 1),
        }
    }
    let last = lines().rev().find_map(|line| worker::events::parse(line).0.pop())?;
    let exited = matches!(last.what, What::Exited { .. }) && last.seq + 1 == next;
    exited.then_some(last.worker)
}

#[cfg(test)]
mod tests {
    use super::worker_if_complete;

    /// An event file of these numbers, the last of which is the exit.
    fn file(numbers: &[u64]) -> Vec<u8> {
        let line = |(at, seq): (usize, &u64)| {
            let event =
                if at + 1 == numbers.len() { r#""exited","code":0,"reason":"x""# } else { r#""stopping""# };
            format!(
                "{{\"v\":{},\"at_ms\":1,\"worker\":\"w\",\"seq\":{seq},\"event\":{event}}}\n",
                super::FORMAT_VERSION
            )
        };
        numbers.iter().enumerate().map(line).collect::<String>().into_bytes()
    }

    #[test]
    fn a_file_with_every_event_to_the_exit_is_complete() {
        let whole = Some("w".to_owned());
        assert_eq!(worker_if_complete(&file(&[0, 1, 2])), whole);
        // A failed write is retried.
        assert_eq!(worker_if_complete(&file(&[0, 1, 0, 1, 2])), whole);
        assert_eq!(
            [&file(&[0, 2]), &file(&[1]), &Vec::new()].map(|file| worker_if_complete(file)),
            [None, None, None]
        );
        let (cut, open) = (file(&[0, 1, 2]), file(&[0, 1, 2]).len() - 40);
        assert_eq!(worker_if_complete(&cut[..open]), None);
    }
}
