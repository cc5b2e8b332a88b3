//! Kubernetes: a batch's objects in a cluster, its files onto the volume and from it, and what happens.
//!
//! [`cluster::Cluster`] is the port, [`live::LiveCluster`] the arm behind it for a cluster that is there. Nothing
//! here knows how a cluster came to be; that is [`crate::gke`]'s and [`crate::kind`]'s.

pub mod cluster;

#[cfg(feature = "cluster")]
pub(crate) mod apply;
#[cfg(feature = "cluster")]
mod attend;
#[cfg(feature = "bucket")]
pub mod bucket;
#[cfg(feature = "cluster")]
pub(crate) mod client;
#[cfg(feature = "cluster")]
pub(crate) mod delete;
#[cfg(feature = "cluster")]
pub mod exec;
#[cfg(feature = "cluster")]
mod follow;
#[cfg(feature = "cluster")]
pub mod forward;
#[cfg(feature = "cluster")]
mod kubeconfig;
#[cfg(feature = "cluster")]
pub mod live;
#[cfg(feature = "cluster")]
mod log;
#[cfg(feature = "cluster")]
mod logs;
#[cfg(feature = "cluster")]
mod object;
#[cfg(feature = "cluster")]
pub mod objects;
#[cfg(feature = "cluster")]
mod obstacle;
pub mod pod;
#[cfg(feature = "cluster")]
pub(crate) mod proxy;
#[cfg(feature = "cluster")]
pub mod stage;
#[cfg(feature = "cluster")]
pub(crate) mod usage;
#[cfg(feature = "cluster")]
pub(crate) mod version;
#[cfg(feature = "cluster")]
pub(crate) mod wait;
#[cfg(feature = "cluster")]
pub mod watch;
#[cfg(feature = "bucket")]
pub mod with_bucket;

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }

    /// The rule of this module's head: imports go from `gke` and `kind` to here, never back.
    #[test]
    fn no_file_here_names_a_maker_of_clusters() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/k8s");
        let files = sources(&here);
        assert!(files.len() > 20, "{files:?}");
        // Its own words are this file's.
        for file in files.iter().filter(|file| **file != here.join("mod.rs")) {
            let text = std::fs::read_to_string(file).unwrap().to_lowercase();
            for word in ["google", "gke", "autopilot", "filestore", "crate::kind", "crate::commands"] {
                assert!(!text.contains(word), "{} names {word}", file.display());
            }
        }
    }
}
