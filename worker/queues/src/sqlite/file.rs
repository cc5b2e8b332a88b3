//! The file: where it may lie, what it must be, and what its failures mean.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::statfs::{Statfs, statfs};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use engine::queue::QueueError;

/// "queu" in ASCII: tells our files from other programs'.
const APPLICATION: i64 = 0x7175_6575;
const SCHEMA: i64 = 2;

/// Ranks are distinct and order the items, so they are their key: a claim reads from the front of
/// one B-tree and writes one of its pages.
const TABLES: &str = "
    CREATE TABLE meta (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        boot TEXT NOT NULL                    -- the boot whose times the deadlines are
    ) STRICT;
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        token INTEGER NOT NULL                -- the last one
    ) STRICT;
    CREATE TABLE items (
        run INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        item TEXT NOT NULL,
        deadline_ms INTEGER NOT NULL,         -- end of lease or delay; 0 when there is none
        length_ms INTEGER NOT NULL,           -- what the deadline was ahead when it was set
        token INTEGER NOT NULL,               -- 0 when nobody owns the item
        nonce TEXT NOT NULL,
        worker TEXT NOT NULL,
        progress INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        lost INTEGER NOT NULL,                -- claims in a row that expired without progress
        PRIMARY KEY (run, rank)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE datasets (                   -- pushed paths, of every run on this file
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path TEXT NOT NULL
    ) STRICT;
    CREATE INDEX datasets_by_path ON datasets (path);
";

/// Longest wait for another process's transaction; ours take some 20 µs.
const BUSY_MAX: Duration = Duration::from_secs(1);
const BUSY_STEP: Duration = Duration::from_micros(50);

/// Which file a path leads to: another one after it has been removed and created again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

pub(super) fn identity(path: &Path) -> Option<Identity> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Identity(metadata.dev(), metadata.ino()))
}

/// Opens or makes the file; voids the deadlines of an earlier boot.
pub(super) fn open(path: &Path, boot: &str) -> Result<Connection, QueueError> {
    refuse_network(path)?;
    let explain = |error| explain(&error, path);
    let mut connection = Connection::open(path).map_err(explain)?;
    let steps_max = (BUSY_MAX.as_micros() / BUSY_STEP.as_micros()) as i32;
    let wait = move |tries: i32| {
        #[expect(clippy::disallowed_methods, reason = "SQLite's own thread waits for another process")]
        std::thread::sleep(BUSY_STEP);
        tries < steps_max
    };
    connection.busy_handler(Some(wait)).map_err(explain)?;
    // Looks before it writes: another program's database stays as it is. One snapshot for both looks,
    // since another worker may be making the tables between them.
    let snapshot = connection.transaction().map_err(explain)?;
    check_owner(&snapshot, path)?;
    snapshot.commit().map_err(explain)?;
    // WAL needs memory shared between processes; where a file system has none the switch returns
    // the journal that it keeps, and everything works, more slowly.
    let switch = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
    switch.map_err(explain)?;
    // No fsync: after a crash of the machine, not of a process, the last changes may be missing and
    // the file may even be damaged, which is said; the queue is rebuilt from the commits.
    connection.execute_batch("PRAGMA synchronous = OFF").map_err(explain)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Otherwise SQLite plans each claim's select again, for its times are others than the last one's.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(explain)?;
    prepare(&mut connection, path, boot)?;
    Ok(connection)
}

/// Makes the tables, or checks that they are ours.
fn prepare(connection: &mut Connection, path: &Path, boot: &str) -> Result<(), QueueError> {
    let explain = |error| explain(&error, path);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
    if check_owner(&transaction, path)? == Owner::Nobody {
        let head = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {SCHEMA};");
        transaction.execute_batch(&head).map_err(explain)?;
        transaction.execute_batch(TABLES).map_err(explain)?;
    }
    let reboot = "INSERT INTO meta (only, boot) VALUES (1, ?1)
                  ON CONFLICT DO UPDATE SET boot = ?1 WHERE boot <> ?1";
    if transaction.execute(reboot, [boot]).map_err(explain)? > 0 {
        transaction.execute("UPDATE items SET deadline_ms = 0", []).map_err(explain)?;
    }
    transaction.commit().map_err(explain)
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    Ours,
    Nobody,
}

fn check_owner(connection: &Connection, path: &Path) -> Result<Owner, QueueError> {
    let number = |sql: &str| {
        let number = connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        number.map_err(|error| explain(&error, path))
    };
    let application = number("PRAGMA application_id")?;
    if application == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(Owner::Nobody);
    }
    let shown = path.display();
    if application != APPLICATION {
        return Err(QueueError::Refused(format!(
            "{shown} is another program's database\nhint: give the queue a file of its own"
        )));
    }
    let schema = number("PRAGMA user_version")?;
    if schema != SCHEMA {
        return Err(QueueError::Refused(format!(
            "{shown} has schema {schema}, and this version knows {SCHEMA}\n\
             hint: use the version that made it, or remove it once its workers have ended: \
             the queue is rebuilt from what is committed"
        )));
    }
    Ok(Owner::Ours)
}

/// SQLite's locks do not hold between machines (rule 16).
fn refuse_network(path: &Path) -> Result<(), QueueError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let system = statfs(folder).map_err(|error| {
        let (path, folder) = (path.display(), folder.display());
        QueueError::Refused(format!("opening {path}: folder {folder}: {}", error.desc()))
    })?;
    match network_name(&system) {
        Some(name) => Err(QueueError::Refused(format!(
            "{} lies on {name}, where locks of different machines do not hold\n\
             hint: put the queue on a local disk, or use Redis between machines",
            path.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn network_name(system: &Statfs) -> Option<&'static str> {
    use nix::sys::statfs::{NFS_SUPER_MAGIC, SMB_SUPER_MAGIC};
    // linux/magic.h; nix has no names for these two.
    const CIFS: u32 = 0xFF53_4D42;
    const SMB2: u32 = 0xFE53_4D42;
    let magic = system.filesystem_type();
    if magic == NFS_SUPER_MAGIC {
        Some("NFS")
    } else if magic == SMB_SUPER_MAGIC || [CIFS, SMB2].contains(&(magic.0 as u32)) {
        Some("SMB")
    } else {
        None
    }
}

#[cfg(not(target_os = "linux"))]
fn network_name(system: &Statfs) -> Option<&'static str> {
    match system.filesystem_type_name() {
        "nfs" => Some("NFS"),
        "smbfs" => Some("SMB"),
        _ => None,
    }
}

/// What SQLite's errors mean for who asked.
pub(super) fn explain(error: &rusqlite::Error, path: &Path) -> QueueError {
    let path = path.display();
    let text = format!("{path}: {error}");
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => QueueError::Refused(format!(
            "{text}\nhint: remove it (with -wal and -shm) once its workers have ended: the queue is rebuilt from \
             what is committed; paths pushed and not yet taken in must be pushed again"
        )),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            QueueError::Refused(format!(
                "{text}\nhint: the queue needs a folder in which this user may make and write files"
            ))
        }
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationAborted
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory
            | ErrorCode::SchemaChanged
            | ErrorCode::SystemIoFailure,
        ) => QueueError::Away(text),
        _ => QueueError::Refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers that start together: one makes the file, and none takes it for another program's.
    #[test]
    fn many_may_open_a_new_file_at_once() {
        for _ in 0..50 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("queue.sqlite");
            std::thread::scope(|scope| {
                let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path, "boot"))).collect();
                for opener in openers {
                    match opener.join().unwrap() {
                        Ok(_) | Err(QueueError::Away(_)) => {}
                        Err(refused) => panic!("{refused}"),
                    }
                }
            });
        }
    }
}
