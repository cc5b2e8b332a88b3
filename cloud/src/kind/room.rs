//! Whether this machine has room for a cluster: memory, and inotify instances.

use super::Spec;
use super::program::docker;
use crate::error::{Error, Result};

/// What the nodes themselves take; measured 1.5 GiB for a control plane and three workers.
const CONTROL_PLANE_MIB: u64 = 900;
const NODE_MIB: u64 = 300;

/// inotify instances that the system containers of a node hold; measured 26 and 13 with Kubernetes 1.34.
const CONTROL_PLANE_INOTIFY: u64 = 26;
const NODE_INOTIFY: u64 = 13;
/// What Docker and the machine itself hold apart from them.
const OTHERS_INOTIFY: u64 = 12;
/// The kernel's limit of them for a user; the nodes' root is this machine's.
const INOTIFY_MAX: &str = "/proc/sys/fs/inotify/max_user_instances";

/// # Errors
/// Where the nodes take more than there is, with how much that is.
pub(super) async fn enough(spec: &Spec) -> Result<()> {
    enough_memory(spec).await?;
    let most = std::fs::read_to_string(INOTIFY_MAX).ok().and_then(|most| most.trim().parse().ok());
    enough_inotify(spec.workers, most)
}

async fn enough_memory(spec: &Spec) -> Result<()> {
    let doing = "look at Docker's memory";
    let total = docker(&["info", "--format", "{{.MemTotal}}"], doing).await?;
    let total_mib =
        total.parse::<u64>().map_err(|error| Error::other(doing, format!("{total:?}: {error}")))? >> 20;
    let needed = CONTROL_PLANE_MIB + NODE_MIB * u64::from(spec.workers);
    if total_mib >= needed {
        return Ok(());
    }
    Err(Error::with_hint(
        format!("make a cluster of {} workers", spec.workers),
        format!("Docker has {total_mib} MiB of memory and the nodes alone take about {needed} MiB"),
        "ask for fewer workers, or give Docker more (Docker Desktop: Settings, Resources)",
    ))
}

/// Refuses more nodes than the kernel's limit of inotify instances allows: beyond it kubelets and log streams fail
/// with "too many open files". `most` is the limit, where it can be read.
fn enough_inotify(workers: u32, most: Option<u64>) -> Result<()> {
    let Some(most) = most else { return Ok(()) };
    let allowed = most.saturating_sub(OTHERS_INOTIFY + CONTROL_PLANE_INOTIFY) / NODE_INOTIFY;
    if u64::from(workers) <= allowed {
        return Ok(());
    }
    Err(Error::with_hint(
        format!("make a cluster of {workers} workers"),
        format!("fs.inotify.max_user_instances is {most}, which is enough for about {allowed}"),
        "ask for fewer workers, or `sudo sysctl fs.inotify.max_user_instances=1024 fs.inotify.max_user_watches=524288`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_nodes_than_inotify_allows_are_refused_with_how_many_it_does() {
        assert_eq!(enough_inotify(6, Some(128)), Ok(()));
        let error = enough_inotify(7, Some(128)).unwrap_err();
        assert!(error.why.contains("128, which is enough for about 6"), "{error}");
        assert_eq!(enough_inotify(50, Some(1024)), Ok(()));
        assert_eq!(enough_inotify(1000, None), Ok(()));
        assert!(enough_inotify(1, Some(0)).is_err());
    }
}
