//! The store's steps over a real directory of which one call fails: nothing that failed is taken for done, nothing that
//! cannot be seen for absent.

use std::cell::{Cell, RefCell};

use super::calls::{FileSystem, Meta};
use super::dir::{DirFile, Directory, translate};
use super::*;

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It has no effect, and fails.
    Undone(Kind),
    /// It takes effect, and its answer is an error.
    AnswerLost(Kind),
    /// It loses the end of what was written, and succeeds.
    Torn,
}

/// A directory of which the first call of one name has a fate; tells which calls were made.
struct Failing {
    files: Directory,
    next: Cell<Option<(&'static str, Fate)>>,
    calls: RefCell<Vec<String>>,
}

impl Failing {
    fn fate(&self, of: &'static str, path: &str) -> Option<Fate> {
        self.calls.borrow_mut().push(format!("{of} {path}"));
        let (_, fate) = self.next.get().filter(|(name, _)| *name == of)?;
        self.next.set(None);
        Some(fate)
    }

    async fn call<T>(
        &self,
        of: &'static str,
        path: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let failed =
            |kind| StoreError { kind, operation: of, path: path.to_owned(), detail: "it fails".to_owned() };
        match self.fate(of, path) {
            Some(Fate::Undone(kind)) => Err(failed(kind)),
            Some(Fate::AnswerLost(kind)) => {
                call.await?;
                Err(failed(kind))
            }
            _ => call.await,
        }
    }
}

impl FileSystem for Failing {
    type File = (DirFile, String);

    fn is_on_one_machine(&self) -> bool {
        self.files.is_on_one_machine()
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.call("read", path, self.files.read(path)).await
    }

    async fn read_at(&self, path: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.call("read", path, self.files.read_at(path, offset, length)).await
    }

    async fn meta(&self, path: &str) -> Result<Meta> {
        self.call("stat", path, self.files.meta(path)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.call("list", folder, self.files.list(folder)).await
    }

    async fn create(&self, path: &str) -> Result<Self::File> {
        let file = self.call("create", path, self.files.create(path)).await?;
        Ok((file, path.to_owned()))
    }

    async fn write(&self, (file, path): &mut Self::File, bytes: &[u8]) -> Result<()> {
        let kept = match self.next.get() {
            Some(("write", Fate::Torn)) => &bytes[..bytes.len() / 2],
            _ => bytes,
        };
        let path = path.clone();
        self.call("write", &path, self.files.write(file, kept)).await
    }

    async fn sync(&self, (file, path): &mut Self::File) -> Result<()> {
        let path = path.clone();
        self.call("fsync", &path, self.files.sync(file)).await
    }

    async fn close(&self, (file, path): Self::File) -> Result<()> {
        self.call("close", &path, self.files.close(file)).await
    }

    async fn link(&self, from: &str, to: &str) -> Result<()> {
        self.call("link", to, self.files.link(from, to)).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.call("rename", to, self.files.rename(from, to)).await
    }

    async fn remove(&self, path: &str) -> Result<()> {
        self.call("remove", path, self.files.remove(path)).await
    }

    async fn make_folder(&self, path: &str) -> Result<()> {
        self.call("mkdir", path, self.files.make_folder(path)).await
    }

    async fn remove_folder(&self, path: &str) -> Result<()> {
        self.call("rmdir", path, self.files.remove_folder(path)).await
    }

    async fn sync_folder(&self, path: &str) -> Result<()> {
        self.call("fsync", path, self.files.sync_folder(path)).await
    }
}

/// A volume, and one more client of it.
struct Volume {
    folder: tempfile::TempDir,
    store: Posix<Failing>,
}

impl Volume {
    /// As on a server: what equal inputs give again is synced too.
    fn on_server() -> Self {
        Self::of(Directory::on_server)
    }

    fn on_own_disk() -> Self {
        Self::of(Directory::new)
    }

    fn of(open: impl Fn(std::path::PathBuf) -> Directory) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = open(folder.path().to_owned());
        let store = Posix::new(Failing { files, next: Cell::new(None), calls: RefCell::default() });
        Self { folder, store }
    }

    fn next(&self, of: &'static str, fate: Fate) {
        self.store.files.next.set(Some((of, fate)));
    }

    /// The calls since the last look.
    fn calls(&self) -> Vec<String> {
        self.store.files.calls.take()
    }

    /// Whether the call came that had a fate.
    fn has_come(&self) -> bool {
        self.store.files.next.get().is_none()
    }

    async fn staged<'b>(&self, name: &str, bytes: &'b [u8]) -> Staged<'b> {
        self.store.stage(name, bytes, Keep::Durable).await.unwrap()
    }
}

const BYTES: &[u8] = b"what is committed";
const OTHER: &[u8] = b"what another committed";

fn kind<T: std::fmt::Debug>(answer: Result<T>) -> Kind {
    answer.expect_err("it fails").kind
}

#[tokio::test]
async fn a_step_that_fails_is_no_success() {
    for keep in [Keep::Durable, Keep::Reproducible] {
        for of in ["mkdir", "create", "write", "fsync", "close", "read"] {
            for fate in [Fate::Undone(Kind::Io), Fate::AnswerLost(Kind::Io)] {
                let volume = Volume::on_server();
                volume.next(of, fate);
                assert_eq!(kind(volume.store.put("a/0", BYTES, keep).await), Kind::Io, "{of}");
                assert!(volume.has_come(), "{of}");
            }
        }
    }
    for of in ["fsync", "close"] {
        let volume = Volume::on_own_disk();
        let mut upload = volume.store.begin_upload("a/0").await.unwrap();
        volume.store.upload(&mut upload, BYTES).await.unwrap();
        volume.next(of, Fate::Undone(Kind::Io));
        assert_eq!(kind(volume.store.end_upload(upload).await), Kind::Io, "{of}");
    }
}

/// O_EXCL: what was written under a name is never written over (rule 1).
#[tokio::test]
async fn a_private_name_is_used_once() {
    let volume = Volume::on_server();
    let store = &volume.store;
    store.put("a/0", BYTES, Keep::Durable).await.unwrap();
    assert_eq!(kind(store.put("a/0", OTHER, Keep::Durable).await), Kind::Exists);
    assert_eq!(kind(store.stage("a/0", OTHER, Keep::Durable).await), Kind::Exists);
    assert_eq!(kind(store.begin_upload("a/0").await), Kind::Exists);
    assert_eq!(kind(store.create_log("a/0").await), Kind::Exists);
    assert_eq!(store.get("a/0").await.as_deref(), Ok(BYTES));
}

/// A close is asked of every file, synced or not: NFS says there what earlier writes lost.
#[tokio::test]
async fn a_close_that_fails_is_told_on_an_own_disk_too() {
    let volume = Volume::on_own_disk();
    volume.next("close", Fate::AnswerLost(Kind::Io));
    let error = volume.store.stage("a/0", BYTES, Keep::Reproducible).await.expect_err("it fails");
    assert_eq!((error.kind, error.operation), (Kind::Io, "close"));
}

/// What a server lost without saying so is seen where it is read again.
#[tokio::test]
async fn what_was_written_and_is_not_there_is_noticed() {
    let volume = Volume::on_server();
    volume.next("write", Fate::Torn);
    let error = volume.store.put("a/0", BYTES, Keep::Durable).await.expect_err("half of it is there");
    assert_eq!((error.kind, error.operation), (Kind::Io, "verify"));
}

/// What is synced, and in which order: a name is no use without its bytes.
#[tokio::test]
async fn what_must_last_is_synced_before_its_name_is_public() {
    let syncs = async |volume: &Volume, keep| {
        let staged = volume.store.stage("private/0", BYTES, keep).await.unwrap();
        volume.store.put_if_absent(&staged, "public/deep/0").await.unwrap();
        let calls = volume.calls().into_iter();
        calls.filter(|call| call.starts_with("fsync") || call.starts_with("link")).collect::<Vec<_>>()
    };
    let all = ["fsync private/0", "link public/deep/0", "fsync public/deep", "fsync public", "fsync "];
    assert_eq!(syncs(&Volume::on_server(), Keep::Durable).await, all);
    assert_eq!(syncs(&Volume::on_server(), Keep::Reproducible).await, all, "others outlive this client");
    assert_eq!(syncs(&Volume::on_own_disk(), Keep::Durable).await, all);
    let volume = Volume::on_own_disk();
    assert_eq!(syncs(&volume, Keep::Reproducible).await, ["link public/deep/0"]);
    // Names above are durable once; the name itself is new each time.
    let staged = volume.staged("private/1", BYTES).await;
    for (name, expected) in [("1", 3), ("2", 1)] {
        volume.calls();
        volume.store.put_if_absent(&staged, &format!("public/deep/{name}")).await.unwrap();
        let calls = volume.calls();
        assert_eq!(calls.iter().filter(|call| call.starts_with("fsync")).count(), expected, "{calls:?}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_synced_is_no_success() {
    let volume = Volume::on_own_disk();
    let staged = volume.staged("private/0", BYTES).await;
    volume.next("fsync", Fate::Undone(Kind::Io));
    assert_eq!(kind(volume.store.put_if_absent(&staged, "public/0").await), Kind::Io);
    volume.next("fsync", Fate::Undone(Kind::Io));
    assert_eq!(kind(volume.store.settle("public").await), Kind::Io);
    assert_eq!(volume.store.settle("public").await, Ok(()));
}

/// What is read decides, and not the answer to the link.
#[tokio::test]
async fn the_name_decides_and_not_the_answer_to_the_link() {
    let errors = [Kind::Stale, Kind::Io, Kind::Exists, Kind::NotFound];
    for kind in errors {
        let volume = Volume::on_server();
        let staged = volume.staged("private/0", BYTES).await;
        volume.next("link", Fate::AnswerLost(kind));
        let put = volume.store.put_if_absent(&staged, "public/0").await;
        assert_eq!(put, Ok(Put::Ours { first: true }), "{kind:?}");
    }
    for kind in errors {
        let volume = Volume::on_server();
        let (ours, theirs) =
            (volume.staged("private/0", BYTES).await, volume.staged("private/1", OTHER).await);
        volume.store.put_if_absent(&theirs, "public/0").await.unwrap();
        volume.next("link", Fate::Undone(kind));
        let put = volume.store.put_if_absent(&ours, "public/0").await;
        assert_eq!(put, Ok(Put::Theirs(OTHER.to_vec())), "{kind:?}");
        let equal = volume.staged("private/2", OTHER).await;
        let put = volume.store.put_if_absent(&equal, "public/0").await;
        assert_eq!(put, Ok(Put::Ours { first: false }), "another worker's");
    }
}

/// Neither ours nor another's, as far as is known.
#[tokio::test]
async fn a_link_that_was_not_made_or_cannot_be_read_is_no_commit() {
    let volume = Volume::on_server();
    let staged = volume.staged("private/0", BYTES).await;
    for failed in [Kind::Stale, Kind::Io, Kind::CrossDevice, Kind::Unsupported] {
        volume.next("link", Fate::Undone(failed));
        assert_eq!(kind(volume.store.put_if_absent(&staged, "public/0").await), failed, "the link says more");
    }
    volume.next("read", Fate::Undone(Kind::Stale));
    assert_eq!(kind(volume.store.put_if_absent(&staged, "public/0").await), Kind::Stale);
    assert_eq!(volume.store.put_if_absent(&staged, "public/0").await, Ok(Put::Ours { first: true }));
}

/// Only ENOENT looks like absence, and only where it is harmless to take it for that.
#[tokio::test]
async fn a_stale_handle_is_no_absence() {
    let volume = Volume::on_server();
    volume.store.put("a/0", BYTES, Keep::Durable).await.unwrap();
    for failed in [Kind::Stale, Kind::Io, Kind::Permission] {
        volume.next("list", Fate::Undone(failed));
        assert_eq!(kind(volume.store.list("a").await), failed);
        volume.next("read", Fate::Undone(failed));
        assert_eq!(kind(volume.store.get("a/0").await), failed);
        volume.next("read", Fate::Undone(failed));
        assert_eq!(kind(volume.store.get_range("a/0", 0, 1).await), failed);
        volume.next("stat", Fate::Undone(failed));
        assert_eq!(kind(volume.store.exists("a/0").await), failed);
    }
    assert_eq!(volume.store.list("nothing").await, Ok(vec![]));
    assert_eq!(volume.store.exists("a/1").await, Ok(false));
}

#[test]
fn each_number_of_an_error_has_its_kind() {
    use nix::errno::Errno;
    let kind = |operation, errno: Errno| translate(operation, "a", &std::io::Error::from(errno)).kind;
    let table = [
        (Errno::ENOENT, Kind::NotFound),
        (Errno::ENOTDIR, Kind::NotFound),
        (Errno::EEXIST, Kind::Exists),
        (Errno::ENOTEMPTY, Kind::Exists),
        (Errno::ENOSPC, Kind::NoSpace),
        (Errno::EDQUOT, Kind::NoSpace),
        (Errno::ESTALE, Kind::Stale),
        (Errno::EISDIR, Kind::NoFile),
        (Errno::ENAMETOOLONG, Kind::NoFile),
        (Errno::ELOOP, Kind::NoFile),
        (Errno::EXDEV, Kind::CrossDevice),
        (Errno::EACCES, Kind::Permission),
        (Errno::EPERM, Kind::Permission),
        (Errno::EROFS, Kind::Permission),
        (Errno::EOPNOTSUPP, Kind::Unsupported),
        (Errno::ENOSYS, Kind::Unsupported),
        (Errno::EMLINK, Kind::Unsupported),
        (Errno::EIO, Kind::Io),
        (Errno::ETIMEDOUT, Kind::Io),
        (Errno::ECONNRESET, Kind::Io),
    ];
    for (errno, expected) in table {
        assert_eq!(kind("read", errno), expected, "{errno}");
    }
    assert_eq!(kind("link", Errno::EPERM), Kind::Unsupported, "a file system without hard links");
    let nothing = translate("read", "a", &std::io::Error::other("no number"));
    assert_eq!(nothing.kind, Kind::Io);
}

/// A lost answer is none, other links are; a folder that was swept during a try is there at the next one.
#[tokio::test]
async fn a_probe_tells_what_passes_from_what_stays() {
    let volume = Volume::on_server();
    volume.next("link", Fate::AnswerLost(Kind::Exists));
    assert_eq!(volume.store.probe("private/0", "public/0").await, Ok(()));
    volume.next("link", Fate::Undone(Kind::NotFound));
    assert_eq!(kind(volume.store.probe("private/1", "public/1").await), Kind::Stale);
    volume.next("link", Fate::Undone(Kind::Unsupported));
    assert_eq!(kind(volume.store.probe("private/2", "public/2").await), Kind::Unsupported);
    for folder in ["private", "public"] {
        assert_eq!(volume.store.list(folder).await, Ok(vec![]), "nothing is left behind");
    }
}

/// This client made them before, and somebody removed them.
#[tokio::test]
async fn removed_folders_are_made_and_synced_again() {
    let volume = Volume::on_own_disk();
    let put = async |name: &str| {
        let staged = volume.store.stage(&format!("private/{name}"), BYTES, Keep::Durable).await?;
        volume.store.put_if_absent(&staged, &format!("public/deep/{name}")).await
    };
    assert_eq!(put("0").await, Ok(Put::Ours { first: true }));
    std::fs::remove_dir_all(volume.folder.path().join("public")).unwrap();
    assert_eq!(kind(put("1").await), Kind::NotFound);
    volume.calls();
    assert_eq!(put("2").await, Ok(Put::Ours { first: true }));
    let calls = volume.calls();
    for call in ["mkdir public", "mkdir public/deep", "fsync public/deep", "fsync public", "fsync "] {
        assert!(calls.iter().any(|made| made == call), "{call}: {calls:?}");
    }
}
