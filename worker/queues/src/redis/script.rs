//! The scripts, one an operation: their texts, and how a server is asked to run them.

use redis::Cmd;

/// What [`ADD`], [`ACK`] and [`RELEASE`] share.
const HINT: &str = include_str!("../lua/hint.lua");
/// What [`ADD`] and [`ACK`] share.
const ENQUEUE: &str = include_str!("../lua/enqueue.lua");

pub const ADD: &[&str] = &[HINT, ENQUEUE, include_str!("../lua/add.lua")];
pub const CLAIM: &[&str] = &[include_str!("../lua/claim.lua")];
pub const HEARTBEAT: &[&str] = &[include_str!("../lua/heartbeat.lua")];
pub const ACK: &[&str] = &[HINT, ENQUEUE, include_str!("../lua/ack.lua")];
pub const RELEASE: &[&str] = &[HINT, include_str!("../lua/release.lua")];
pub const REMOVE_PUSHED: &[&str] = &[include_str!("../lua/remove_pushed.lua")];
pub const COUNTS: &[&str] = &[include_str!("../lua/counts.lua")];

/// A script's text with the hash that a server knows it by.
#[derive(Debug)]
pub struct Script {
    text: String,
    hash: String,
}

impl Script {
    pub fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let hash = redis::Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn by_hash(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        command("EVALSHA", &self.hash, keys, arguments)
    }

    pub(super) fn by_text(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        command("EVAL", &self.text, keys, arguments)
    }
}

fn command(name: &str, script: &str, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
    let bytes: usize = keys.iter().map(|key| key.len()).sum::<usize>()
        + arguments.iter().map(|argument| argument.len()).sum::<usize>();
    let count = 3 + keys.len() + arguments.len();
    let mut cmd = Cmd::with_capacity(count, bytes + script.len() + 16);
    cmd.arg(name).arg(script).arg(keys.len());
    for key in keys {
        cmd.arg(*key);
    }
    for argument in arguments {
        cmd.arg(*argument);
    }
    cmd
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) add: Script,
    pub(super) claim: Script,
    pub(super) heartbeat: Script,
    pub(super) ack: Script,
    pub(super) release: Script,
    pub(super) remove_pushed: Script,
    pub(super) counts: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            add: Script::new(ADD),
            claim: Script::new(CLAIM),
            heartbeat: Script::new(HEARTBEAT),
            ack: Script::new(ACK),
            release: Script::new(RELEASE),
            remove_pushed: Script::new(REMOVE_PUSHED),
            counts: Script::new(COUNTS),
        }
    }
}
