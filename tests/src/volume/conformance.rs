//! What every arm of the volume does where nothing fails: one body a behaviour. One client closes,
//! links or renames a file; a second client, opened afterwards, reads it.

use worker::contract::ROOT;
use worker::store::posix::calls::{FileSystem, Meta};
use worker::store::{Kind, StoreError};

use super::Arm;

/// Writes a file as the worker does.
async fn put<V: FileSystem>(volume: &V, path: &str, bytes: &[u8]) {
    let mut file = volume.create(path).await.expect("created");
    volume.write(&mut file, bytes).await.expect("written");
    volume.sync(&mut file).await.expect("synced");
    volume.close(file).await.expect("closed");
}

async fn folder<V: FileSystem>(volume: &V, path: &str) {
    volume.make_folder(path).await.expect("a folder");
}

fn kind<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> Kind {
    answer.expect_err("this must fail").kind
}

pub async fn what_is_closed_is_read_by_others(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    folder(&one, "a").await;
    folder(&one, "a/b").await;
    let large: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7) as u8).collect();
    for (name, bytes) in [("a/b/empty", &b""[..]), ("a/b/text", b"text\0\xff"), ("a/large", &large)] {
        put(&one, name, bytes).await;
        assert_eq!(other.read(name).await.as_deref(), Ok(bytes), "{name}");
        let meta = other.meta(name).await.expect("its size");
        assert_eq!(meta, Meta { bytes: bytes.len() as u64, links: 1 });
    }
}

pub async fn writes_append(arm: &impl Arm) {
    let volume = arm.client();
    let mut file = volume.create("file").await.expect("created");
    let mut expected = Vec::new();
    for part in [&b"one"[..], b"", b"two", &[0; 10_000], b"three"] {
        volume.write(&mut file, part).await.expect("written");
        expected.extend(part);
    }
    volume.sync(&mut file).await.expect("synced");
    volume.write(&mut file, b"after the sync").await.expect("written");
    expected.extend(b"after the sync");
    volume.close(file).await.expect("closed");
    assert_eq!(arm.client().read("file").await, Ok(expected));
}

/// O_EXCL: rule 1 stands on it.
pub async fn a_file_is_created_once(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    folder(&one, "folder").await;
    put(&one, "file", b"first").await;
    for client in [&one, &other] {
        assert_eq!(kind(client.create("file").await), Kind::Exists);
        assert_eq!(kind(client.create("folder").await), Kind::Exists);
    }
    assert_eq!(kind(one.create("nowhere/file").await), Kind::NotFound);
    assert_eq!(other.read("file").await.as_deref(), Ok(&b"first"[..]));
    // A name that was removed is free again.
    one.remove("file").await.expect("removed");
    put(&one, "file", b"second").await;
    assert_eq!(other.read("file").await.as_deref(), Ok(&b"second"[..]));
}

pub async fn ranges_are_read_short_at_the_end_only(arm: &impl Arm) {
    let volume = arm.client();
    put(&volume, "file", b"0123456789").await;
    let cases: [(u64, u64, &[u8]); 7] = [
        (0, 10, b"0123456789"),
        (0, 0, b""),
        (3, 4, b"3456"),
        (7, 3, b"789"),
        (7, 4, b"789"),
        (10, 1, b""),
        (1 << 40, 1 << 30, b""),
    ];
    for (offset, length, expected) in cases {
        assert_eq!(
            volume.read_at("file", offset, length).await.as_deref(),
            Ok(expected),
            "{offset}+{length}"
        );
    }
}

pub async fn what_is_not_there_is_not_found(arm: &impl Arm) {
    let volume = arm.client();
    for path in ["nothing", "nowhere/nothing", "nowhere/deep/nothing"] {
        assert_eq!(kind(volume.read(path).await), Kind::NotFound);
        assert_eq!(kind(volume.read_at(path, 0, 1).await), Kind::NotFound);
        assert_eq!(kind(volume.meta(path).await), Kind::NotFound);
        assert_eq!(kind(volume.list(path).await), Kind::NotFound);
        assert_eq!(kind(volume.remove(path).await), Kind::NotFound);
        assert_eq!(kind(volume.remove_folder(path).await), Kind::NotFound);
        assert_eq!(kind(volume.sync_folder(path).await), Kind::NotFound);
        assert_eq!(kind(volume.link(path, "to").await), Kind::NotFound);
        assert_eq!(kind(volume.rename(path, "to").await), Kind::NotFound);
    }
    assert_eq!(kind(volume.make_folder("nowhere/deep").await), Kind::NotFound);
    assert_eq!(kind(volume.meta("to").await), Kind::NotFound, "a failed link or rename leaves nothing");
}

pub async fn a_link_is_another_name_of_one_file(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    folder(&one, "private").await;
    folder(&one, "public").await;
    put(&one, "private/0", b"content").await;
    one.link("private/0", "public/0").await.expect("linked");
    for name in ["private/0", "public/0"] {
        assert_eq!(other.read(name).await.as_deref(), Ok(&b"content"[..]));
        assert_eq!(one.meta(name).await.map(|meta| meta.links), Ok(2));
    }
    one.remove("private/0").await.expect("removed");
    assert_eq!(other.read("public/0").await.as_deref(), Ok(&b"content"[..]));
    assert_eq!(one.meta("public/0").await.map(|meta| meta.links), Ok(1));
}

/// What every commit stands on: a name that is taken stays as it is.
pub async fn a_link_never_replaces(arm: &impl Arm) {
    let clients: Vec<_> = (0..3).map(|_| arm.client()).collect();
    folder(&clients[0], "public").await;
    let mut winner = None;
    for (number, client) in clients.iter().enumerate() {
        let private = format!("private-{number}");
        put(client, &private, private.as_bytes()).await;
        match client.link(&private, "public/0").await {
            Ok(()) => assert_eq!(winner.replace(private), None, "linked twice"),
            Err(error) => assert_eq!(error.kind, Kind::Exists),
        }
        let found = clients[2 - number].read("public/0").await.expect("readable");
        assert_eq!(Some(String::from_utf8_lossy(&found).into_owned()), winner);
    }
    assert_eq!(winner.as_deref(), Some("private-0"));
    // Its own second link, as after a lost reply.
    assert_eq!(kind(clients[0].link("private-0", "public/0").await), Kind::Exists);
    assert_eq!(kind(clients[0].link("private-0", "public").await), Kind::Exists);
    assert_eq!(kind(clients[0].link("private-0", "nowhere/0").await), Kind::NotFound);
}

/// Many at once: one is first.
pub async fn one_of_many_links_wins(arm: &impl Arm) {
    let clients: Vec<_> = (0..8).map(|_| arm.client()).collect();
    for (number, client) in clients.iter().enumerate() {
        put(client, &format!("private-{number}"), &[number as u8]).await;
    }
    for round in 0..20 {
        let public = format!("public-{round}");
        let tries = clients.iter().enumerate().map(|(number, client)| {
            let public = public.clone();
            Box::pin(async move { client.link(&format!("private-{number}"), &public).await })
        });
        let answers = worker::conformance::all(tries.collect()).await;
        let won: Vec<usize> = (0..clients.len()).filter(|&number| answers[number].is_ok()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|e| e.kind == Kind::Exists));
        assert_eq!(clients[7].read(&public).await, Ok(vec![won[0] as u8]));
    }
}

pub async fn a_rename_replaces(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    put(&one, "new", b"new").await;
    put(&one, "old", b"old").await;
    one.link("old", "old-too").await.expect("linked");
    one.rename("new", "old").await.expect("renamed");
    assert_eq!(other.read("old").await.as_deref(), Ok(&b"new"[..]));
    assert_eq!(kind(other.read("new").await), Kind::NotFound);
    assert_eq!(other.read("old-too").await.as_deref(), Ok(&b"old"[..]), "its other name stays");
    assert_eq!(kind(one.rename("nothing", "old").await), Kind::NotFound);
    assert_eq!(other.read("old").await.as_deref(), Ok(&b"new"[..]));
    one.rename("old", "free").await.expect("renamed to a free name");
    assert_eq!(other.read("free").await.as_deref(), Ok(&b"new"[..]));
}

pub async fn folders_are_listed_sorted(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    folder(&one, "folder").await;
    folder(&one, "folder").await;
    assert_eq!(other.list("folder").await, Ok(vec![]));
    for name in ["10", "9", "b", "a", "ä", "B", ".hidden"] {
        put(&one, &format!("folder/{name}"), b"").await;
    }
    folder(&one, "folder/inner").await;
    put(&one, "folder/inner/deep", b"").await;
    let names = [".hidden", "10", "9", "B", "a", "b", "inner", "ä"];
    assert_eq!(other.list("folder").await, Ok(names.map(str::to_owned).to_vec()));
    for path in ["folder", ROOT] {
        one.sync_folder(path).await.expect("synced");
    }
    one.remove("folder/9").await.expect("removed");
    assert_eq!(other.list("folder").await.map(|names| names.len()), Ok(7));
}

pub async fn only_empty_folders_are_removed(arm: &impl Arm) {
    let (one, other) = (arm.client(), arm.client());
    folder(&one, "folder").await;
    put(&one, "folder/file", b"").await;
    assert_eq!(kind(one.remove_folder("folder").await), Kind::Exists);
    assert_eq!(other.list("folder").await, Ok(vec!["file".to_owned()]));
    one.remove("folder/file").await.expect("removed");
    one.remove_folder("folder").await.expect("removed");
    assert_eq!(kind(other.list("folder").await), Kind::NotFound);
    folder(&other, "folder").await;
    assert_eq!(one.list("folder").await, Ok(vec![]));
}

pub async fn a_folder_is_no_file(arm: &impl Arm) {
    let volume = arm.client();
    folder(&volume, "folder").await;
    put(&volume, "file", b"").await;
    assert_eq!(kind(volume.remove("folder").await), Kind::NoFile);
    assert_eq!(kind(volume.list("file").await), Kind::NotFound);
    assert_eq!(kind(volume.remove_folder("file").await), Kind::NotFound);
    assert_eq!(volume.list("folder").await, Ok(vec![]));
    assert_eq!(volume.read("file").await, Ok(vec![]));
}

/// A person reads what was tried, on what, and why it failed.
pub async fn errors_name_what_was_tried(arm: &impl Arm) {
    let volume = arm.client();
    put(&volume, "file", b"").await;
    let read = volume.read("nowhere/file").await.expect_err("absent");
    assert_eq!((read.operation, read.path.as_str()), ("read", "nowhere/file"));
    assert!(read.to_string().starts_with("read nowhere/file: "), "{read}");
    let link = volume.link("file", "nowhere/to").await.expect_err("absent");
    assert_eq!(link.operation, "link");
    assert!(link.path.ends_with("nowhere/to"), "{link}");
    let create = volume.create("file").await.expect_err("taken");
    assert_eq!((create.operation, create.path.as_str()), ("create", "file"));
}
