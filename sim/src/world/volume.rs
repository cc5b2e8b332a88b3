//! The file system of a machine in a world.

use std::future::pending;
use std::rc::Rc;

use worker::mutant::Mutant;
use worker::path::folder_of;
use worker::store::posix::calls::{FileSystem, Meta};
use worker::store::{Kind, Result, StoreError};

use super::injection::Injected;
use super::inside::Inside;
use super::machine::Machine;
use super::nfs::{Call, Condition, Inode, Put, Reply, View};
use super::site::Site;
use super::watch::Sometimes;
use super::world::{Event, World};

/// Names of a folder that a server tells at once: 32 KiB, with what each name's file is.
const NAMES_AN_ANSWER: usize = 128;

/// A file open for writing: what is written waits in the client's memory.
pub struct WorldFile {
    world: Rc<World>,
    machine: Rc<Machine>,
    node: Inode,
    dirty: Vec<u8>,
}

impl std::fmt::Debug for WorldFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorldFile({}, {} bytes unwritten)", self.node, self.dirty.len())
    }
}

impl Drop for WorldFile {
    /// A process that ends has its files closed; of one whose machine is gone, some bytes may have
    /// been on their way.
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.dirty);
        if bytes.is_empty() {
            return;
        }
        if !self.machine.alive.get() {
            let kept = self.world.between((0, bytes.len() as u64));
            bytes.truncate(kept as usize);
        }
        self.world.flush_quietly(&self.machine, self.node, bytes);
    }
}

impl World {
    fn flush_quietly(&self, machine: &Machine, file: Inode, bytes: Vec<u8>) {
        let call = Call::Flush { file, bytes, sync: false };
        let view = machine.view(self.now());
        let _ = self.share.server.borrow_mut().apply(self.now(), view, &call);
    }

    /// One call to the volume, with all that may happen to it.
    pub async fn volume_call(self: &Rc<Self>, machine: &Rc<Machine>, call: Call) -> Result<Reply> {
        let call = if self.mutant.is_some() { self.misplace(call) } else { call };
        let injected = self.inject(machine, Site::Volume(&call));
        if injected.killed {
            if let Call::Flush { file, bytes, sync: _ } = &call {
                let kept = self.between((0, bytes.len() as u64)) as usize;
                self.flush_quietly(machine, *file, bytes[..kept].to_vec());
            }
            return pending().await;
        }
        if call != Call::Write {
            let span = self.between(self.params.volume_us);
            self.clock.sleep(span + injected.slow).await;
            // Mounted hard: a client waits for its server.
            while self.now() < self.share.away_until.get() {
                self.clock.sleep_until(self.share.away_until.get()).await;
            }
        }
        let answer = match self.wait_for_turn(&call).await {
            Ok(()) => self.carry_out(machine, &call, &injected),
            Err(throttled) => Err(throttled),
        };
        if let Ok(Reply::Names(names)) = &answer {
            // Many names take many answers.
            let more = (names.len() / NAMES_AN_ANSWER) as u64 * self.params.volume_us.0;
            if more > 0 {
                self.clock.sleep(more).await;
            }
        }
        self.after(machine, &injected).await;
        machine.moved_at.set(self.now());
        answer
    }

    fn carry_out(&self, machine: &Machine, call: &Call, injected: &Injected) -> Result<Reply> {
        if let Some(failed) = self.failure_before(call, injected) {
            return Err(failed);
        }
        if injected.close_error {
            return self.close_badly(machine, call);
        }
        if let (Some(span), Call::Remove(path)) = (injected.silly, call) {
            return self.rename_silly(machine, path, span);
        }
        let now = self.now();
        let view = machine.view(now);
        if let Call::Create(path) = call
            && self.mutant.is_some()
            && self.is_shared(path)
            && let Some(node) = self.share.server.borrow_mut().reopen(path)
        {
            return Ok(Reply::File(node));
        }
        let mut answer = self.share.server.borrow_mut().apply(now, view, call);
        self.saw_object(machine, call, &answer);
        if injected.cut {
            answer = self.break_off(call, answer);
        }
        if let (Some(_), Ok(Reply::Bytes(bytes))) = (injected.misread, &mut answer) {
            bytes.reverse();
        }
        self.saw(machine, view, call, &answer);
        if injected.reply_lost && answer.is_ok() {
            match call {
                Call::Link(_, path) => self.watch.lost_link(path),
                Call::Put(put) if put.attempt.is_some() => self.watch.lost_link(&put.path),
                _ => {}
            }
            self.watch.fired("reply-lost");
            return self.lost_reply(call);
        }
        answer
    }

    /// Why a call fails that the server does not carry out, if it does.
    fn failure_before(&self, call: &Call, injected: &Injected) -> Option<StoreError> {
        if let Some(kind) = injected.fails {
            let detail = if kind == Kind::Stale { "stale file handle" } else { "input/output error" };
            return Some(call.fail(kind, detail));
        }
        if call.needs_space() && self.share.no_space.is_open(self.now()) {
            self.noticed(&self.share.no_space);
            return Some(call.fail(Kind::NoSpace, "no space left on device"));
        }
        let missing = || call.fail(Kind::NotFound, "no such file or directory");
        self.conflict(call, injected).or_else(|| (injected.misread == Some(true)).then(missing))
    }

    /// What an onlooker learns of a call and its answer.
    fn saw(&self, machine: &Machine, view: View, call: &Call, answer: &Result<Reply>) {
        match (call, answer) {
            (Call::Link(_, path), Ok(_)) => {
                self.watch.linked(path, self.share.server.borrow().bytes(path).unwrap_or_default());
            }
            (Call::Create(path) | Call::Link(path, _), Err(error))
                if error.kind == Kind::NotFound && path.contains("/attempts/") =>
            {
                self.watch.met(Sometimes::SweptUnderWork);
            }
            (Call::Read(path), Ok(_)) if path.ends_with("/violation") => machine.void_seen.set(true),
            _ => {}
        }
        if machine.stale_unnoticed.get() && view.as_of.is_some() {
            let fresh = View { as_of: None, ..view };
            if self.share.server.borrow_mut().look_again(fresh, call).is_some_and(|fresh| fresh != *answer) {
                machine.stale_unnoticed.set(false);
                self.watch.fired("stale-lookups");
            }
        }
    }

    /// A client that does not hear asks again, and the server does not remember that it did it
    /// already; or it gives up.
    fn lost_reply(&self, call: &Call) -> Result<Reply> {
        if self.dice.borrow_mut().chance(1, 2) {
            return Err(call.fail(Kind::Io, "connection timed out"));
        }
        Err(match call {
            // mkdir(2) of what is there: no error of the port.
            Call::MakeFolder(_) => return Ok(Reply::Done),
            Call::Link(..) | Call::Create(_) => call.fail(Kind::Exists, "file exists"),
            Call::Put(Put { condition: Condition::Always, .. }) | Call::Copy(..) => {
                call.fail(Kind::Io, "connection timed out")
            }
            Call::Put(_) => call.fail(Kind::Exists, "the condition does not hold (412)"),
            _ => call.fail(Kind::NotFound, "no such file or directory"),
        })
    }

    fn close_badly(&self, machine: &Machine, call: &Call) -> Result<Reply> {
        if let Call::Flush { file, bytes, .. } = call {
            let kept = self.between((0, bytes.len() as u64)) as usize;
            self.flush_quietly(machine, *file, bytes[..kept].to_vec());
        }
        Err(call.fail(Kind::Io, "input/output error"))
    }

    /// A client that still has the file open renames it, and removes it when it is closed.
    fn rename_silly(&self, machine: &Machine, path: &str, span: u64) -> Result<Reply> {
        let silly = format!("{}/.nfs{:024x}", folder_of(path), self.between((0, u64::MAX - 1)));
        let call = Call::Rename(path.to_owned(), silly.clone());
        let view = machine.view(self.now());
        let answer = self.share.server.borrow_mut().apply(self.now(), view, &call);
        self.later(self.now() + span, Event::SillyGone(silly));
        answer.map(|_| Reply::Done)
    }
}

impl Inside {
    async fn ask_volume(&self, call: Call) -> Result<Reply> {
        self.world.volume_call(&self.machine, call).await
    }
}

impl FileSystem for Inside {
    type File = WorldFile;

    fn is_on_one_machine(&self) -> bool {
        self.world.params.on_one_machine
    }

    fn breaks(&self, mutant: Mutant) -> bool {
        self.world.breaks(mutant)
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        let reply = self.ask_volume(Call::Read(path.to_owned())).await?;
        Ok(reply.bytes())
    }

    async fn read_at(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        let reply = self.ask_volume(Call::ReadAt(path.to_owned(), offset, length)).await?;
        Ok(reply.bytes())
    }

    async fn meta(&self, path: &str) -> Result<Meta> {
        match self.ask_volume(Call::Meta(path.to_owned())).await? {
            Reply::Meta(meta) => Ok(meta),
            _ => Ok(Meta { bytes: 0, links: 0 }),
        }
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        match self.ask_volume(Call::List(folder.to_owned())).await? {
            Reply::Names(names) => Ok(names),
            _ => Ok(Vec::new()),
        }
    }

    async fn create(&self, path: &str) -> Result<WorldFile> {
        let reply = self.ask_volume(Call::Create(path.to_owned())).await?;
        let Reply::File(node) = reply else {
            return Err(Call::Create(path.to_owned()).fail(Kind::Io, "it is no file"));
        };
        Ok(WorldFile { world: self.world.clone(), machine: self.machine.clone(), node, dirty: Vec::new() })
    }

    async fn write(&self, file: &mut WorldFile, bytes: &[u8]) -> Result<()> {
        file.dirty.extend_from_slice(bytes);
        self.ask_volume(Call::Write).await.map(drop)
    }

    async fn sync(&self, file: &mut WorldFile) -> Result<()> {
        let call = Call::Flush { file: file.node, bytes: std::mem::take(&mut file.dirty), sync: true };
        self.ask_volume(call).await.map(drop)
    }

    async fn close(&self, mut file: WorldFile) -> Result<()> {
        let call = Call::Flush { file: file.node, bytes: std::mem::take(&mut file.dirty), sync: false };
        self.ask_volume(call).await.map(drop)
    }

    async fn link(&self, from: &str, to: &str) -> Result<()> {
        let call = Call::Link(from.to_owned(), to.to_owned());
        self.ask_volume(call).await.map(drop)
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let call = Call::Rename(from.to_owned(), to.to_owned());
        self.ask_volume(call).await.map(drop)
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.ask_volume(Call::Remove(path.to_owned())).await.map(drop)
    }

    async fn make_folder(&self, path: &str) -> Result<()> {
        self.ask_volume(Call::MakeFolder(path.to_owned())).await.map(drop)
    }

    async fn remove_folder(&self, path: &str) -> Result<()> {
        self.ask_volume(Call::RemoveFolder(path.to_owned())).await.map(drop)
    }

    async fn sync_folder(&self, path: &str) -> Result<()> {
        self.ask_volume(Call::SyncFolder(path.to_owned())).await.map(drop)
    }
}
