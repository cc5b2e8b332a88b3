//! What every arm of the store does where nothing fails: one body a behaviour. What one client has put is read
//! through another's. [`crate::store_conformance!`] makes a test of each body.

use super::all;
use crate::store::{Keep, Kind, Put, Result, Store};

/// One way to have a store that several clients share.
pub trait Arm: Sized {
    type Client: Store;

    /// Whether a create that races others is one step. Of a store of which this is false, nothing but tests may use.
    const CREATES_ATOMICALLY: bool = true;

    /// A new, empty store. `None`, said aloud, where this machine has no server for it.
    fn open() -> Option<Self>;

    /// A further client of it.
    fn client(&self) -> Self::Client;
}

const BOTH: [Keep; 2] = [Keep::Durable, Keep::Reproducible];

fn kind<T: std::fmt::Debug>(answer: Result<T>) -> Kind {
    answer.expect_err("this must fail").kind
}

async fn put<S: Store>(store: &S, path: &str, bytes: &[u8]) {
    store.put(path, bytes, Keep::Durable).await.expect("put");
}

/// Puts bytes where nothing is, as commits do.
async fn commit<S: Store>(store: &S, private: &str, bytes: &[u8], path: &str) -> Put {
    let staged = store.stage(private, bytes, Keep::Durable).await.expect("staged");
    let put = store.put_if_absent(&staged, path).await.expect("answered");
    store.unstage(private).await;
    put
}

pub async fn what_is_put_is_read_by_others(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    let large: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7) as u8).collect();
    for (number, keep) in BOTH.into_iter().enumerate() {
        for (name, bytes) in [("a/b/empty", &b""[..]), ("a/b/text", b"text\0\xff"), ("large", &large)] {
            let name = format!("{number}/{name}");
            one.put(&name, bytes, keep).await.expect("put");
            assert_eq!(other.get(&name).await.as_deref(), Ok(bytes), "{name}");
            assert_eq!(other.size(&name).await, Ok(bytes.len() as u64));
            assert_eq!(other.exists(&name).await, Ok(true));
        }
    }
}

pub async fn ranges_are_read_short_at_the_end_only(arm: &impl Arm) {
    let store = arm.client();
    put(&store, "file", b"0123456789").await;
    let cases: [(u64, u64, &[u8]); 6] =
        [(0, 10, b"0123456789"), (3, 4, b"3456"), (7, 3, b"789"), (7, 4, b"789"), (10, 1, b""), (99, 9, b"")];
    for (offset, length, expected) in cases {
        let found = store.get_range("file", offset, length).await;
        assert_eq!(found.as_deref(), Ok(expected), "{offset}+{length}");
    }
}

pub async fn what_is_not_there_is_not_found(arm: &impl Arm) {
    let store = arm.client();
    for path in ["nothing", "nowhere/nothing", "nowhere/deep/nothing"] {
        assert_eq!(kind(store.get(path).await), Kind::NotFound);
        assert_eq!(kind(store.get_range(path, 0, 1).await), Kind::NotFound);
        assert_eq!(kind(store.size(path).await), Kind::NotFound);
        assert_eq!(store.exists(path).await, Ok(false));
        assert_eq!(store.list(path).await, Ok(vec![]), "folders need not be made");
        store.delete_all(path).await;
        store.delete_folder(path).await;
        store.unstage(path).await;
    }
}

/// What every commit stands on: a name that is taken stays as it is.
pub async fn the_first_put_wins(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    for (number, keep) in BOTH.into_iter().enumerate() {
        let public = format!("public/{number}");
        let first = one.stage(&format!("private/a{number}"), b"first", keep).await.expect("staged");
        let second = other.stage(&format!("private/b{number}"), b"second", keep).await.expect("staged");
        assert_eq!(other.exists(&public).await, Ok(false), "what is staged is not public");
        assert_eq!(one.put_if_absent(&first, &public).await, Ok(Put::Ours { first: true }));
        assert_eq!(other.put_if_absent(&second, &public).await, Ok(Put::Theirs(b"first".to_vec())));
        for store in [&one, &other] {
            assert_eq!(store.get(&public).await.as_deref(), Ok(&b"first"[..]));
        }
    }
}

/// As after a lost reply: the client repeats the call, which finds the bytes that it put.
pub async fn the_same_bytes_are_ours(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    let staged = one.stage("private/0", b"same", Keep::Durable).await.expect("staged");
    assert_eq!(one.put_if_absent(&staged, "public").await, Ok(Put::Ours { first: true }));
    assert!(matches!(one.put_if_absent(&staged, "public").await, Ok(Put::Ours { .. })));
    let put = commit(&other, "private/1", b"same", "public").await;
    assert_eq!(put, Put::Ours { first: false }, "a duplicate of another's");
}

pub async fn one_of_many_puts_wins<A: Arm>(arm: &A) {
    if !A::CREATES_ATOMICALLY {
        return;
    }
    let clients: Vec<_> = (0..8).map(|_| arm.client()).collect();
    for round in 0..20u8 {
        let public = format!("public/{round}");
        let tries = clients.iter().enumerate().map(|(number, client)| {
            let (public, private) = (public.clone(), format!("private/{round}-{number}"));
            Box::pin(async move { commit(client, &private, &[number as u8], &public).await })
        });
        let puts = all(tries.collect()).await;
        let won: Vec<usize> =
            (0..clients.len()).filter(|&number| matches!(puts[number], Put::Ours { .. })).collect();
        assert_eq!(won.len(), 1, "{puts:?}");
        let winner = vec![won[0] as u8];
        assert!(
            puts.iter().all(|put| matches!(put, Put::Ours { .. }) || *put == Put::Theirs(winner.clone()))
        );
        assert_eq!(clients[7].get(&public).await, Ok(winner));
    }
}

pub async fn a_replacement_is_whole(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    assert_eq!(commit(&one, "private/0", b"torn", "public/0").await, Put::Ours { first: true });
    let staged = other.stage("private/1", b"whole", Keep::Durable).await.expect("staged");
    assert_eq!(one.get("public/0").await.as_deref(), Ok(&b"torn"[..]));
    other.replace(&staged, "public/0").await.expect("replaced");
    other.unstage("private/1").await;
    assert_eq!(one.get("public/0").await.as_deref(), Ok(&b"whole"[..]));
    let staged = one.stage("private/2", b"new", Keep::Durable).await.expect("staged");
    one.replace(&staged, "free/name").await.expect("put where nothing was");
    assert_eq!(other.get("free/name").await.as_deref(), Ok(&b"new"[..]));
}

/// Until it is published, others see what was there before; what was swept is not published any more.
pub async fn a_large_file_is_published_whole(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    put(&other, "output/model", b"old").await;
    let piece: Vec<u8> = (0..3_000_000u32).map(|at| (at / 11) as u8).collect();
    for (number, pieces) in [(0, 7), (1, 1)] {
        let private = format!("attempts/a-{number}");
        let mut upload = one.begin_upload(&private).await.expect("begun");
        for _ in 0..pieces {
            one.upload(&mut upload, &piece).await.expect("uploaded");
        }
        one.end_upload(upload).await.expect("ended");
        let before = other.get("output/model").await.map(|found| found.len());
        assert_eq!(before, Ok(if number == 0 { 3 } else { 7 * piece.len() }), "not public yet");
        one.publish_upload(&private, "output/model").await.expect("published");
        assert_eq!(other.get("output/model").await, Ok(piece.repeat(pieces)));
        assert_eq!(other.list("attempts").await, Ok(vec![]));
    }
    let mut late = one.begin_upload("attempts/late").await.expect("begun");
    one.upload(&mut late, b"late").await.expect("uploaded");
    one.end_upload(late).await.expect("ended");
    other.delete_all("attempts/late").await;
    assert!(one.publish_upload("attempts/late", "output/model").await.is_err());
    assert_eq!(other.get("output/model").await, Ok(piece));
}

/// A commit may share its bytes with what was staged: removing that must not touch it.
pub async fn what_was_staged_can_go(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    commit(&one, "private/0", b"content", "public/0").await;
    assert_eq!(other.list("private").await, Ok(vec![]));
    assert_eq!(other.get("public/0").await.as_deref(), Ok(&b"content"[..]));
}

pub async fn folders_are_listed_sorted(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    for name in ["10", "9", "b", "a", "B", "inner/deep"] {
        put(&one, &format!("folder/{name}"), b"").await;
    }
    put(&one, "folder-too", b"").await;
    let names = ["10", "9", "B", "a", "b", "inner"];
    assert_eq!(other.list("folder").await, Ok(names.map(str::to_owned).to_vec()));
    one.settle("folder").await.expect("settled");
    one.delete("folder/9").await.expect("deleted");
    assert_eq!(other.list("folder").await.map(|names| names.len()), Ok(5));
}

/// Many answers of a server, for stores that page.
pub async fn long_folders_are_listed_whole(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    let mut expected: Vec<String> = (0..1_100).map(|number| number.to_string()).collect();
    // Side by side, since most of it is waiting for the disk.
    for names in expected.chunks(100) {
        let puts = names.iter().map(|name| {
            let path = format!("folder/{name}");
            Box::pin(async { one.put(&{ path }, b"", Keep::Reproducible).await })
        });
        assert!(all(puts.collect()).await.iter().all(Result::is_ok));
    }
    expected.sort_unstable();
    assert_eq!(other.list("folder").await, Ok(expected));
}

pub async fn folders_are_deleted_with_what_they_hold(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    for name in ["attempts/a/0", "attempts/a/1", "attempts/b", "attempts/ab"] {
        put(&one, name, b"x").await;
    }
    one.delete_all("attempts/a").await;
    other.delete_all("attempts/b").await;
    assert_eq!(other.list("attempts").await, Ok(vec!["ab".to_owned()]));
    // A name that was deleted is free again, and so is its folder.
    put(&one, "attempts/a/2", b"again").await;
    put(&other, "attempts/a/3", b"again").await;
    one.delete_folder("attempts/a").await;
    assert_eq!(
        other.list("attempts/a").await.map(|names| names.len()),
        Ok(2),
        "one that holds something stays"
    );
}

/// Another client may remove a folder that this one has used.
pub async fn a_removed_folder_is_recreated(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    put(&one, "folder/inner/0", b"x").await;
    other.delete_all("folder/inner").await;
    other.delete_folder("folder").await;
    // The first call may fail; the next must not.
    let first = one.put("folder/inner/1", b"again", Keep::Durable).await;
    if first.is_err() {
        put(&one, "folder/inner/2", b"again").await;
    }
    assert_eq!(other.list("folder/inner").await.map(|names| names.len()), Ok(1));
}

pub async fn a_log_is_read_as_it_grows(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    let mut log = one.create_log("events/log.jsonl").await.expect("begun");
    let mut expected = Vec::new();
    for line in [&b"one\n"[..], b"two\n", b"three\n"] {
        one.append(&mut log, line).await.expect("appended");
        expected.extend(line);
    }
    one.show(&mut log).await.expect("shown");
    drop(log);
    assert_eq!(other.get("events/log.jsonl").await, Ok(expected));
    assert!(one.create_log("events/log.jsonl").await.is_err(), "a log has a name of its own");
}

pub async fn the_probe_leaves_nothing(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    one.probe("attempts/probe", "probe").await.expect("a store that commits can use");
    assert_eq!(other.list("attempts").await, Ok(vec![]));
    assert_eq!(other.exists("probe").await, Ok(false));
}

/// A person reads what was tried, on what, and why it failed.
pub async fn errors_name_what_was_tried(arm: &impl Arm) {
    let read = arm.client().get("nowhere/file").await.expect_err("absent");
    assert_eq!((read.operation, read.path.as_str()), ("read", "nowhere/file"));
    assert!(read.to_string().starts_with("read nowhere/file: "), "{read}");
}

/// Makes a module with a test of each body, for an [`Arm`]; `block_on` runs a future.
#[macro_export]
macro_rules! store_conformance {
    ($module:ident, $arm:ty, $block_on:path) => {
        mod $module {
            use super::*;
            $crate::store_conformance!(@ $arm, $block_on, [
                what_is_put_is_read_by_others,
                ranges_are_read_short_at_the_end_only,
                what_is_not_there_is_not_found,
                the_first_put_wins,
                the_same_bytes_are_ours,
                one_of_many_puts_wins,
                a_replacement_is_whole,
                a_large_file_is_published_whole,
                what_was_staged_can_go,
                folders_are_listed_sorted,
                long_folders_are_listed_whole,
                folders_are_deleted_with_what_they_hold,
                a_removed_folder_is_recreated,
                a_log_is_read_as_it_grows,
                the_probe_leaves_nothing,
                errors_name_what_was_tried,
            ]);
        }
    };
    (@ $arm:ty, $block_on:path, [$($body:ident),* $(,)?]) => {
        $(
            #[test]
            fn $body() {
                use $crate::conformance::store::{self as bodies, Arm};
                let Some(arm) = <$arm as Arm>::open() else { return };
                $block_on(bodies::$body(&arm));
            }
        )*
    };
}
