//! The operations, each one transaction.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use tracing::warn;

use super::Clock;
use super::file::{self, Identity};
use engine::item::{Item, Name};
use engine::queue::{Claim, Counts, Ownership, QueueError, Release};

/// Rows that are no items of ours, removed by one claim before it reports that there is nothing.
const FOREIGN_MAX: usize = 64;

/// Deadlines that have passed; and those farther ahead than they were ever set, which are void.
const CLAIMABLE: &str = "(deadline_ms <= ?2 OR deadline_ms > ?2 + length_ms)";

/// Selects the first row among those of some ranks that a claim may have.
fn front() -> String {
    format!(
        "SELECT rank, item, token, worker, failures, lost, progress FROM items
         WHERE run = ?1 AND {CLAIMABLE} AND rank BETWEEN ?3 AND ?4 ORDER BY rank LIMIT 1"
    )
}

type Result<T, E = QueueError> = std::result::Result<T, E>;

#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    run: String,
    clock: Clock,
    file: Option<File>,
}

#[derive(Debug)]
struct File {
    connection: Connection,
    identity: Option<Identity>,
    /// The run's number in this file.
    run: i64,
}

impl Store {
    pub(super) fn open(path: &Path, run: &str, clock: Clock) -> Result<Self> {
        let mut store = Self { path: path.to_owned(), run: run.to_owned(), clock, file: None };
        store.file = Some(store.open_file()?);
        Ok(store)
    }

    fn open_file(&self) -> Result<File> {
        let connection = file::open(&self.path, &self.clock.boot)?;
        let explain = |error| file::explain(&error, &self.path);
        let add = "INSERT INTO runs (name, token) VALUES (?1, 0) ON CONFLICT DO NOTHING";
        connection.execute(add, [&self.run]).map_err(explain)?;
        let number =
            connection.query_row("SELECT id FROM runs WHERE name = ?1", [&self.run], |row| row.get(0));
        let run = number.map_err(explain)?;
        Ok(File { connection, identity: file::identity(&self.path), run })
    }

    /// One transaction on the file; on the new one, if somebody has removed the old, which would
    /// otherwise live on unseen by the others.
    fn transact<T>(&mut self, work: impl FnOnce(&Step<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let identity = file::identity(&self.path);
        if self.file.as_ref().is_none_or(|file| identity.is_none() || file.identity != identity) {
            self.file = None;
            self.file = Some(self.open_file()?);
        }
        let Some(file) = &self.file else {
            return Err(QueueError::Away(format!("{} is not open", self.path.display())));
        };
        let now = signed(self.clock.now_ms());
        let step = Step { connection: &file.connection, run: file.run, now };
        step.transact(work).map_err(|error| file::explain(&error, &self.path))
    }

    pub(super) fn add(&mut self, items: &[Item]) -> Result<usize> {
        self.transact(|step| step.add(items))
    }

    pub(super) fn claim(
        &mut self,
        worker: &str,
        nonce: u128,
        lease_ms: u64,
        preferred: &[Item],
    ) -> Result<Option<Claim>> {
        for _ in 0..FOREIGN_MAX {
            let found = self.transact(|step| {
                let Some(front) = step.first_of(preferred)? else {
                    return Ok(Ok(None));
                };
                match front.item() {
                    Some(item) => {
                        let token = step.lease(&front, worker, nonce, signed(lease_ms))?;
                        let Front { owner: taken_over_from, failures, lost, .. } = front;
                        Ok(Ok(Some(Claim { item, token, nonce, taken_over_from, failures, lost })))
                    }
                    None => step.remove(front.rank).map(|()| Err(front.name)),
                }
            })?;
            match found {
                Ok(claim) => return Ok(claim),
                Err(name) => warn!(queue = %self.path.display(), "removed {name:?}: not an item of ours"),
            }
        }
        Ok(None)
    }

    pub(super) fn heartbeat(&mut self, claim: &Claim, lease_ms: u64, progress: u64) -> Result<Ownership> {
        let sql = "UPDATE items SET deadline_ms = ?1, length_ms = ?2, progress = ?3, failures = ?8
                   WHERE run = ?4 AND rank = ?5 AND token = ?6 AND nonce = ?7";
        self.transact(|step| {
            let (length, progress) = (signed(lease_ms), signed(progress));
            let (rank, token, nonce) = owner(claim);
            let deadline = step.now.saturating_add(length);
            let failures = claim.failures;
            step.execute(sql, params![deadline, length, progress, step.run, rank, token, nonce, failures])
                .map(hold)
        })
    }

    pub(super) fn ack(&mut self, claim: &Claim, next: &[Item]) -> Result<Ownership> {
        let sql = "DELETE FROM items WHERE run = ?1 AND rank = ?2 AND token = ?3 AND nonce = ?4";
        self.transact(|step| {
            let (rank, token, nonce) = owner(claim);
            let removed = step.execute(sql, params![step.run, rank, token, nonce])?;
            step.add(next)?;
            Ok(hold(removed))
        })
    }

    pub(super) fn release(&mut self, claim: &Claim, delay_ms: u64, why: Release) -> Result<Ownership> {
        let sql = "UPDATE items
                   SET deadline_ms = ?1, length_ms = ?2, failures = ?3, lost = 0, token = 0, nonce = ''
                   WHERE run = ?4 AND rank = ?5 AND token = ?6 AND nonce = ?7";
        self.transact(|step| {
            let length = signed(delay_ms);
            let deadline = if length == 0 { 0 } else { step.now.saturating_add(length) };
            let failures = claim.failures.saturating_add(u32::from(why == Release::Failed));
            let (rank, token, nonce) = owner(claim);
            step.execute(sql, params![deadline, length, failures, step.run, rank, token, nonce]).map(hold)
        })
    }

    pub(super) fn push(&mut self, paths: &[String]) -> Result<()> {
        let sql = "INSERT INTO datasets (path) VALUES (?1)";
        self.transact(|step| paths.iter().try_for_each(|path| step.execute(sql, [path]).map(drop)))
    }

    pub(super) fn pushed(&mut self) -> Result<Vec<String>> {
        let (paths, foreign) = self.transact(|step| {
            let (mut paths, mut foreign) = (Vec::new(), Vec::new());
            let mut select = step.connection.prepare_cached("SELECT id, path FROM datasets ORDER BY id")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                match text(row, 1)? {
                    Ok(path) => paths.push(path),
                    Err(bytes) => foreign.push((row.get::<_, i64>(0)?, bytes)),
                }
            }
            for (id, _) in &foreign {
                step.execute("DELETE FROM datasets WHERE id = ?1", [id])?;
            }
            Ok((paths, foreign))
        })?;
        for (_, bytes) in foreign {
            warn!(queue = %self.path.display(), "removed {}: paths are UTF-8", bytes.escape_ascii());
        }
        Ok(paths)
    }

    pub(super) fn remove_pushed(&mut self, paths: &[String]) -> Result<()> {
        let sql = "DELETE FROM datasets WHERE path = ?1";
        self.transact(|step| paths.iter().try_for_each(|path| step.execute(sql, [path]).map(drop)))
    }

    pub(super) fn counts(&mut self) -> Result<Counts> {
        self.transact(|step| {
            let sql =
                format!("SELECT count(*) FILTER (WHERE {CLAIMABLE}), count(*) FROM items WHERE run = ?1");
            let mut select = step.connection.prepare_cached(&sql)?;
            select.query_row([step.run, step.now], |row| {
                let [pending, all] = [row.get::<_, i64>(0)?, row.get(1)?].map(unsigned);
                Ok(Counts { pending, claimed: all - pending })
            })
        })
    }

    pub(super) fn pushed_count(&mut self) -> Result<u64> {
        self.transact(|step| {
            let mut select = step.connection.prepare_cached("SELECT count(*) FROM datasets")?;
            select.query_row([], |row| row.get(0)).map(unsigned)
        })
    }
}

/// A transaction on one run, at one time.
struct Step<'a> {
    connection: &'a Connection,
    run: i64,
    now: i64,
}

impl Step<'_> {
    /// All of the work, or nothing. By statements that are prepared once, as the others are.
    fn transact<T>(self, work: impl FnOnce(&Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.execute("BEGIN IMMEDIATE", [])?;
        let outcome = work(&self).and_then(|value| self.execute("COMMIT", []).map(|_| value));
        if outcome.is_err() && !self.connection.is_autocommit() {
            let _ = self.execute("ROLLBACK", []);
        }
        outcome
    }

    fn execute(&self, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(values)
    }

    fn add(&self, items: &[Item]) -> rusqlite::Result<usize> {
        let sql = "INSERT INTO items
                   (run, rank, item, deadline_ms, length_ms, token, nonce, worker, progress, failures, lost)
                   VALUES (?1, ?2, ?3, 0, 0, 0, '', '', 0, 0, 0) ON CONFLICT DO NOTHING";
        let mut added = 0;
        for item in items {
            added += self.execute(sql, params![self.run, signed(item.rank), item.to_string()])?;
        }
        Ok(added)
    }

    /// The row that a claim may have.
    fn first_of(&self, preferred: &[Item]) -> rusqlite::Result<Option<Front>> {
        for item in preferred {
            let rank = signed(item.rank);
            if let Some(front) = self.front(rank..=rank)? {
                return Ok(Some(front));
            }
        }
        self.front(i64::MIN..=i64::MAX)
    }

    /// The first row among those of some ranks that a claim may have.
    fn front(&self, ranks: RangeInclusive<i64>) -> rusqlite::Result<Option<Front>> {
        let mut select = self.connection.prepare_cached(&front())?;
        let front = select.query_row([self.run, self.now, *ranks.start(), *ranks.end()], |row| {
            let lossy = |bytes: Vec<u8>| bytes.escape_ascii().to_string();
            let owned = row.get::<_, i64>(2)? != 0;
            let count = |column: usize| -> rusqlite::Result<u32> {
                Ok(u32::try_from(row.get::<_, i64>(column)?.max(0)).unwrap_or(u32::MAX))
            };
            let lost = match (owned, row.get::<_, i64>(6)?) {
                (false, _) => count(5)?,
                (true, 0) => count(5)?.saturating_add(1),
                (true, _) => 1,
            };
            Ok(Front {
                rank: row.get(0)?,
                name: text(row, 1)?.unwrap_or_else(lossy),
                owner: if owned { Some(text(row, 3)?.unwrap_or_else(lossy)) } else { None },
                failures: count(4)?,
                lost,
            })
        });
        front.optional()
    }

    /// Returns the claim's token.
    fn lease(&self, front: &Front, worker: &str, nonce: u128, length: i64) -> rusqlite::Result<u64> {
        // Not RETURNING, for which SQLite makes a table each time.
        self.execute("UPDATE runs SET token = token + 1 WHERE id = ?1", [self.run])?;
        let mut select = self.connection.prepare_cached("SELECT token FROM runs WHERE id = ?1")?;
        let token: i64 = select.query_row([self.run], |row| row.get(0))?;
        let sql = "UPDATE items
                   SET deadline_ms = ?1, length_ms = ?2, token = ?3, nonce = ?4, worker = ?5, progress = 0, lost = ?6
                   WHERE run = ?7 AND rank = ?8";
        let deadline = self.now.saturating_add(length);
        let nonce = nonce_text(nonce);
        let (lost, rank) = (front.lost, front.rank);
        self.execute(sql, params![deadline, length, token, nonce, worker, lost, self.run, rank])?;
        Ok(unsigned(token))
    }

    fn remove(&self, rank: i64) -> rusqlite::Result<()> {
        self.execute("DELETE FROM items WHERE run = ?1 AND rank = ?2", [self.run, rank]).map(drop)
    }
}

#[derive(Debug)]
struct Front {
    rank: i64,
    name: String,
    /// The worker whose lease has expired, if one has.
    owner: Option<String>,
    failures: u32,
    /// Claims in a row that expired without progress, the last one counted.
    lost: u32,
}

impl Front {
    /// `None` where the row is not one that [`Step::add`] made.
    fn item(&self) -> Option<Item> {
        let rank = u64::try_from(self.rank).ok()?;
        Name::try_from(self.name.as_bytes()).ok().map(|name| Item { rank, name })
    }
}

fn owner(claim: &Claim) -> (i64, i64, String) {
    (signed(claim.item.rank), signed(claim.token), nonce_text(claim.nonce))
}

fn nonce_text(nonce: u128) -> String {
    format!("{nonce:032x}")
}

fn hold(rows: usize) -> Ownership {
    if rows == 0 { Ownership::Lost } else { Ownership::Held }
}

/// A column's text, or its bytes where they are none.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Result<String, Vec<u8>>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8(bytes.to_vec()).map_err(|error| error.into_bytes())
        }
        ValueRef::Null => Err(b"null".to_vec()),
        ValueRef::Integer(number) => Ok(number.to_string()),
        ValueRef::Real(number) => Ok(number.to_string()),
    })
}

/// SQLite's integers are signed; ours are far below the bound.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn no_claim_plans_its_statement_again() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system().unwrap();
        let mut store = Store::open(&folder.path().join("queue.sqlite"), "run", clock).unwrap();
        let item = |index| Item { rank: u64::from(index), name: Name::of("prepare", index) };
        store.add(&[0, 1, 2, 3].map(item)).unwrap();
        for preferred in [&[][..], &[item(2)], &[item(3), item(1)], &[]] {
            assert!(store.claim("worker", 1, 1000, preferred).unwrap().is_some());
        }
        let connection = &store.file.as_ref().unwrap().connection;
        let select = connection.prepare_cached(&front()).unwrap();
        assert_eq!(select.get_status(StatementStatus::RePrepare), 0);
        assert!(select.get_status(StatementStatus::Run) >= 4);
    }
}
