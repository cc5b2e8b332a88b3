//! A file system, mounted by FUSE, whose calls fail as a server's do, which no local disk does: a close that reports a
//! lost write, a handle that is stale, a file that holds more than its size says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, WriteFlags,
};
use worker::contract::BLOCK_BYTES;

use crate::docker::tell;

/// A file whose reads fail with ESTALE, and a folder that cannot be listed for it.
const STALE: u64 = 2;
const STALE_FOLDER: u64 = 3;
/// A file of exactly a block, by its size; reads give more.
const GROWING: u64 = 4;
/// The first file that a test makes.
const MADE: u64 = 10;

/// Nothing is cached, so that each call arrives.
const UNCACHED: Duration = Duration::ZERO;

/// Files by number: their names, which say how they fail, and contents.
type Files = BTreeMap<u64, (String, Vec<u8>)>;

/// The files that a test makes: `lost` in a name fails its close, `unsynced` its fsync.
#[derive(Debug, Default)]
struct Faulty(Mutex<Files>);

impl Faulty {
    fn made(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, number: u64) -> Option<FileAttr> {
        let (kind, size) = match number {
            1 | STALE_FOLDER => (FileType::Directory, 0),
            STALE => (FileType::RegularFile, 5),
            GROWING => (FileType::RegularFile, BLOCK_BYTES),
            _ => (FileType::RegularFile, self.made().get(&number)?.1.len() as u64),
        };
        Some(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o777,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 512,
            flags: 0,
        })
    }

    /// Whether a made file has this word in its name.
    fn is(&self, number: INodeNo, word: &str) -> bool {
        self.made().get(&number.0).is_some_and(|(name, _)| name.contains(word))
    }
}

/// A table whose first block ends with a line, and which goes on behind it.
fn growing(offset: u64, size: u32) -> Vec<u8> {
    let header = b"TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD\n1,2018-04-05 10:00:00,2,3,4.50,0\n";
    let byte = |at: u64| *header.get(at as usize).unwrap_or(&b'\n');
    (offset..(offset + u64::from(size)).min(BLOCK_BYTES + 100)).map(byte).collect()
}

impl Filesystem for Faulty {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_string_lossy();
        let made = self.made().iter().find(|(_, made)| made.0 == name).map(|(number, _)| *number);
        let number = match &*name {
            "stale" => Some(STALE),
            "stale-folder" => Some(STALE_FOLDER),
            "growing" => Some(GROWING),
            _ => made,
        };
        match number.and_then(|number| self.attributes(number)) {
            Some(attributes) => reply.entry(&UNCACHED, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(number.0) {
            Some(attributes) => reply.attr(&UNCACHED, &attributes),
            None => reply.error(Errno::ESTALE),
        }
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match number.0 {
            STALE => reply.error(Errno::ESTALE),
            _ => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
        }
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match number.0 {
            STALE_FOLDER => reply.error(Errno::ESTALE),
            _ => reply.opened(FileHandle(0), FopenFlags::empty()),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if number.0 == GROWING {
            return reply.data(&growing(offset, size));
        }
        let made = self.made();
        let bytes = made.get(&number.0).map_or(&[][..], |(_, bytes)| bytes);
        reply.data(bytes.get(offset as usize..).unwrap_or_default());
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let number = MADE + self.made().len() as u64;
        self.made().insert(number, (name.to_string_lossy().into_owned(), Vec::new()));
        match self.attributes(number) {
            Some(attributes) => {
                let flags = FopenFlags::FOPEN_DIRECT_IO;
                reply.created(&UNCACHED, &attributes, Generation(0), FileHandle(0), flags);
            }
            None => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.made().get_mut(&number.0) {
            Some((_, bytes)) => {
                bytes.extend(data);
                reply.written(data.len() as u32);
            }
            None => reply.error(Errno::ESTALE),
        }
    }

    /// What close(2) asks for: of a file that is lost it says so, as NFS does.
    fn flush(&self, _: &Request, number: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        if self.is(number, "lost") { reply.error(Errno::EIO) } else { reply.ok() }
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if self.is(number, "unsynced") { reply.error(Errno::EIO) } else { reply.ok() }
    }
}

/// The file system, mounted until dropped. `None`, said aloud, where it cannot be.
pub fn mount(folder: &Path) -> Option<BackgroundSession> {
    match fuser::spawn_mount(Faulty::default(), folder, &fuser::Config::default()) {
        Ok(session) => Some(session),
        Err(error) => {
            tell(&format!("SKIPPED, there is no FUSE to test with: {error}"));
            None
        }
    }
}
