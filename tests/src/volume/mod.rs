//! The file system's arms under test: a directory, the same as if it were on a server, and the simulator's model of NFS.

pub mod conformance;
#[cfg(target_os = "linux")]
pub mod fuse;
pub mod nfs;

use worker::store::posix::Posix;
use worker::store::posix::calls::FileSystem;
use worker::store::posix::dir::Directory;

/// One way to have a volume that several clients mount.
pub trait Arm: Sized {
    type Client: FileSystem;

    /// A new, empty volume.
    fn open() -> Self;

    /// A further client of it.
    fn client(&self) -> Self::Client;
}

#[derive(Debug)]
pub struct DirArm(tempfile::TempDir);

impl Arm for DirArm {
    type Client = Directory;

    fn open() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn client(&self) -> Directory {
        Directory::new(self.0.path())
    }
}

/// The same, each call handed to a thread beside, as on a server.
#[derive(Debug)]
pub struct ServerArm(DirArm);

impl Arm for ServerArm {
    type Client = Directory;

    fn open() -> Self {
        Self(DirArm::open())
    }

    fn client(&self) -> Directory {
        Directory::on_server(self.0.0.path())
    }
}

/// The store over an arm of the file system.
macro_rules! store_over {
    ($name:ident, $arm:ty) => {
        #[derive(Debug)]
        pub struct $name($arm);

        impl worker::conformance::store::Arm for $name {
            type Client = Posix<<$arm as Arm>::Client>;

            fn open() -> Option<Self> {
                Some(Self(<$arm>::open()))
            }

            fn client(&self) -> Self::Client {
                Posix::new(self.0.client())
            }
        }
    };
}

store_over!(OwnDisk, DirArm);
store_over!(OnServer, ServerArm);
store_over!(NfsStore, nfs::NfsArm);
