//! The directory's adapter on a file system whose calls fail as a server's do (`tests/src/volume/fuse.rs`).

#![cfg(target_os = "linux")]
use tests::queue::block_on;
use tests::volume::fuse::mount;
use worker::store::posix::Posix;
use worker::store::posix::calls::FileSystem as _;
use worker::store::posix::dir::Directory;
use worker::store::{Keep, Kind, Store};

#[test]
fn a_close_or_a_sync_that_fails_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mounted) = mount(folder.path()) else { return };
    block_on(async {
        let files = Directory::new(folder.path());
        assert!(!files.is_on_one_machine());
        let mut file = files.create("lost").await.unwrap();
        files.write(&mut file, b"bytes").await.unwrap();
        files.sync(&mut file).await.unwrap();
        let error = files.close(file).await.expect_err("the server lost it");
        assert_eq!((error.kind, error.operation, error.path.as_str()), (Kind::Io, "close", "lost"));

        let store = Posix::new(files);
        for (name, operation) in [("lost-too", "close"), ("unsynced", "fsync")] {
            let error = store.put(name, b"bytes", Keep::Reproducible).await.expect_err("not whole");
            assert_eq!((error.kind, error.operation), (Kind::Io, operation));
        }
        assert_eq!(store.put("whole", b"bytes", Keep::Durable).await, Ok(()));
    });
}

#[test]
fn a_stale_handle_is_no_absence() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mounted) = mount(folder.path()) else { return };
    block_on(async {
        let store = Posix::new(Directory::new(folder.path()));
        let kinds = [
            store.get("stale").await.map(drop).map_err(|error| error.kind),
            store.get_range("stale", 0, 1).await.map(drop).map_err(|error| error.kind),
            store.list("stale-folder").await.map(drop).map_err(|error| error.kind),
            store.settle("stale-folder").await.map_err(|error| error.kind),
        ];
        assert_eq!(kinds, [Err(Kind::Stale); 4]);
        assert_eq!(store.get("nothing").await.map_err(|error| error.kind), Err(Kind::NotFound));
    });
}
