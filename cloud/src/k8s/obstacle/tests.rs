use serde_json::{Value, json};

use super::*;

fn report(kind: &str, reason: &str, count: i32, message: &str) -> Report {
    Report {
        id: "e".into(),
        kind: kind.into(),
        name: "x".into(),
        uid: "u".into(),
        reason: reason.into(),
        message: message.into(),
        count,
        fresh: true,
    }
}

/// The text of `mount.nfs`, and part of the hint; the hint is empty where waiting may help.
const MOUNTS: [(&str, &str); 20] = [
    ("mount.nfs: access denied by server while mounting 10.0.0.2:/Wrong", "no such export"),
    (
        "mount.nfs: mounting 10.0.0.2:/Wrong failed, reason given by server: No such file or directory",
        "no such export",
    ),
    (
        "mount.nfs: fs:/Wrong: mount_cb: RPC error: Mount failed with error MNT3ERR_ACCES(13) Permission denied(13)",
        "no such export",
    ),
    ("mount.nfs: requested NFS version or transport protocol is not supported for /v", "nfsvers=4.1"),
    ("mount.nfs: Protocol not supported", "nfsvers=4.1"),
    ("mount.nfs: portmap query failed: RPC: Program not registered", "nfsvers=4.1"),
    ("mount.nfs: Failed to resolve server nosuch.test: Name or service not known", "address"),
    ("mount.nfs: Failed to resolve server nosuch.test: Temporary failure in name resolution", ""),
    ("mount.nfs: an incorrect mount option was specified for /v", "--mount-options"),
    (
        "mount: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program.",
        "nfs-common",
    ),
    (
        "mount.nfs: rpc.statd is not running but is required for remote locking.\nmount.nfs: Either use '-o nolock' to keep \
         locks local, or start statd.\nmount.nfs: an incorrect mount option was specified",
        "nolock",
    ),
    ("mount.nfs: Operation not permitted", "insecure"),
    ("mount.nfs: mounting fs:/v failed, reason given by server: Not a directory", "no such export"),
    ("mount.nfs: No such device", "kernel"),
    ("mount.nfs: Failed to resolve server fs: No address associated with hostname", "address"),
    ("mount.nfs: Stale file handle", ""),
    ("mount.nfs: Network is unreachable", ""),
    ("mount.nfs: Connection refused for 10.0.0.2:/NFSVol on /v", ""),
    ("mount.nfs: Connection timed out", ""),
    ("mount.nfs: No route to host for 10.0.0.2:/NFSVol on /v", ""),
];

fn hint(outlook: &Outlook) -> &str {
    match outlook {
        Outlook::MayPass => "",
        Outlook::Hopeless(hint) => hint,
    }
}

/// As the kubelet reports it: with the command that it ran.
fn failed_mount(output: &str, count: i32) -> Obstacle {
    let message = format!(
        "MountVolume.SetUp failed for volume \"v\" : mount failed: exit status 32\nMounting command: mount\n\
         Mounting arguments: -t nfs fs:/NFSVol /var/lib/kubelet/pods/1/volumes/kubernetes.io~nfs/v\nOutput: {output}\n"
    );
    of_report(&report("Pod", "FailedMount", count, &message)).unwrap()
}

#[test]
fn a_mount_that_fails_for_good_is_distinguished_from_one_that_may_not() {
    for (output, expected) in MOUNTS {
        let obstacle = failed_mount(output, REPEATED);
        let found = hint(&obstacle.outlook);
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{output}: {found}");
        let output = one_line(output);
        assert!(obstacle.words.ends_with(&format!("exit status 32 Output: {output}")), "{}", obstacle.words);
        let output = output.as_str();
        assert_eq!(failed_mount(output, 1).outlook, Outlook::MayPass, "a server may just be starting");
    }
}

const QUOTA: &str = "Error creating: pods \"workload-0-a\" is forbidden: exceeded quota: q, requested: \
                     limits.cpu=2,requests.memory=2Gi, used: limits.cpu=USED,requests.memory=0, limited: \
                     limits.cpu=LIMIT,requests.memory=4Gi";

#[test]
fn a_pod_that_admission_always_refuses_is_distinguished_from_one_that_waits_for_others() {
    let quota = |used: &str, limit: &str| QUOTA.replace("USED", used).replace("LIMIT", limit);
    let table = [
        (quota("0", "100m"), "smaller than one pod"),
        (quota("0", "1999m"), "smaller than one pod"),
        (quota("1", "2"), ""),
        (quota("3", "4"), ""),
        ("Error creating: pods \"w\" is forbidden: maximum cpu usage per Container is 100m, but limit is 2".into(), "LimitRange"),
        ("pods \"w\" is forbidden: [minimum memory usage per Pod is 4Gi, but request is 2Gi]".into(), "LimitRange"),
        ("pods \"w\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true".into(), "Pod Security"),
        ("pods \"w\" is forbidden: failed quota: q: must specify limits.ephemeral-storage for: worker".into(), "do not set"),
        ("admission webhook \"deny.example\" denied the request: no".into(), "webhook"),
        ("pods \"w\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no".into(), "policy"),
        ("Internal error occurred: failed calling webhook \"deny.example\": context deadline exceeded".into(), ""),
        ("Error creating: Internal error occurred: etcdserver: request timed out".into(), ""),
    ];
    for (message, expected) in table {
        let obstacle = of_report(&report("Job", "FailedCreate", 1, &message)).unwrap();
        let found = hint(&obstacle.outlook);
        assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{message}: {found}");
    }
    let rights = "pods is forbidden: User \"jane\" cannot create resource \"pods\" in API group \"\" in the namespace \"n\"";
    assert_eq!(of_refusal(rights), None);
    assert!(of_refusal(&quota("1", "2")).is_some());
    assert!(of_refusal("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no").is_some());
}

#[test]
fn quantities_are_compared_by_what_they_are() {
    let table = [
        ("100m", Some(100)),
        ("2", Some(2000)),
        ("1Ki", Some(1_024_000)),
        ("1k", Some(1_000_000)),
        ("x", None),
        ("1e3", None),
    ];
    for (quantity, expected) in table {
        assert_eq!(thousandths(quantity), expected, "{quantity}");
    }
    assert!(thousandths(&format!("{}Ti", u128::MAX)).is_none());
}

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "worker", "resources": {"limits": {"memory": "2Gi"}}}]},
        "status": status,
    }))
    .unwrap()
}

fn container(name: &str, state: Value, last: Value, restarts: i32) -> Value {
    json!([{
        "name": name, "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state,
        "lastState": last,
    }])
}

#[test]
fn what_a_pod_waits_for() {
    let waiting = |reason: &str, message: &str| {
        let state = json!({"waiting": {"reason": reason, "message": message}});
        pod(json!({"phase": "Pending", "containerStatuses": container("worker", state, json!({}), 0)}))
    };
    let init = |code: i32, reason: &str, message: &str, restarts: i32| {
        let ended = json!({"terminated": {"exitCode": code, "reason": reason, "message": message}});
        let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        pod(json!({"phase": "Pending", "initContainerStatuses": container("owner", state, ended, restarts)}))
    };
    let condition =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]);
    let table = [
        (waiting("ContainerCreating", ""), None),
        (
            waiting("InvalidImageName", "couldn't parse image name"),
            Some(("InvalidImageName: couldn't", "--image")),
        ),
        (waiting("ErrImageNeverPull", ""), Some(("ErrImageNeverPull", "--image"))),
        (waiting("ErrImagePull", "dial tcp: lookup r.test: no such host"), Some(("no such host", ""))),
        (
            waiting("ImagePullBackOff", "w:1: not found"),
            Some(("ImagePullBackOff: w:1: not found", "--image")),
        ),
        (
            waiting("ErrImagePull", "pull access denied, repository does not exist"),
            Some(("access", "kind load")),
        ),
        (waiting("ErrImagePull", "no basic auth credentials"), Some(("no basic auth", "may not pull"))),
        (
            waiting(
                "ErrImagePull",
                "denied: Permission \"artifactregistry.repositories.downloadArtifacts\" denied",
            ),
            Some(("downloadArtifacts", "may not pull")),
        ),
        (
            waiting("ErrImagePull", "no matching manifest for linux/arm64/v8 in the manifest list entries"),
            Some(("linux/arm64", "--image")),
        ),
        (
            waiting(
                "ErrImagePull",
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            ),
            Some(("x509", "trust")),
        ),
        (
            waiting("ErrImagePull", "http: server gave HTTP response to HTTPS client"),
            Some(("HTTP response", "HTTPS")),
        ),
        (
            waiting("ErrImagePull", "toomanyrequests: You have reached your pull rate limit"),
            Some(("toomany", "")),
        ),
        (
            waiting("CreateContainerConfigError", "secret \"hub\" not found"),
            Some(("secret \"hub\"", "kubectl create secret")),
        ),
        (
            waiting("CreateContainerConfigError", "couldn't find key token in Secret default/hub"),
            Some(("couldn't find key", "--secret-env")),
        ),
        (waiting("CreateContainerConfigError", "failed to sync secret cache"), Some(("cache", ""))),
        (
            init(77, "Error", "user 65532 can't write", 1),
            Some(("owner ended with Error, exit code 77: user", "root_squash")),
        ),
        (init(77, "Error", "Read-only file system", 1), Some(("Read-only", "`rw`"))),
        (init(1, "Error", "", 1), Some(("exit code 1", ""))),
        (init(1, "Error", "", 3), Some(("exit code 1", "--container owner"))),
        (init(128, "StartError", "exec: \"sh\": not found", 0), Some(("StartError", "`sh`"))),
        (pod(json!({"phase": "Pending", "conditions": condition})), Some(("Unschedulable: 0/1", ""))),
        (pod(json!({"phase": "Running"})), None),
        (pod(json!({"phase": "Failed", "conditions": condition})), None),
    ];
    let ended = json!({"terminated": {"exitCode": 137, "reason": "Error"}});
    let mut worker =
        pod(json!({"phase": "Running", "containerStatuses": container("worker", ended, json!({}), 0)}));
    assert!(of_pod(&worker).unwrap().words.contains("exit code 137"));
    worker.spec.as_mut().unwrap().restart_policy = Some("Never".into());
    assert_eq!(of_pod(&worker), None, "its end is reported as an end");
    for (pod, expected) in table {
        let found = of_pod(&pod);
        let Some((words, advice)) = expected else {
            assert_eq!(found, None);
            continue;
        };
        let found = found.unwrap();
        assert!(found.words.contains(words), "{found:?}");
        let hint = hint(&found.outlook);
        assert!(hint.contains(advice) && hint.is_empty() == advice.is_empty(), "{found:?}");
    }
}

#[test]
fn how_a_worker_was_killed() {
    let ended = |code: i32, reason: &str| {
        container("worker", json!({"terminated": {"exitCode": code, "reason": reason}}), json!({}), 0)
    };
    let failed = |statuses: Value| pod(json!({"phase": "Failed", "containerStatuses": statuses}));
    let said = |pod: &Pod| of_end(pod, "worker");
    let killed = said(&failed(ended(137, "OOMKilled"))).unwrap();
    assert_eq!(
        killed,
        "OOMKilled (exit code 137): the worker, its program included, took more than its memory limit of 2Gi"
    );
    assert!(said(&failed(ended(137, "Error"))).unwrap().starts_with("exit code 137: killed with SIGKILL"));
    let unstarted =
        json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "exec format error"}});
    assert_eq!(
        said(&failed(container("worker", unstarted, json!({}), 0))).unwrap(),
        "StartError: exec format error"
    );
    let mut preempted = failed(ended(137, "Error"));
    let condition = json!([{"type": "DisruptionTarget", "status": "True"}]);
    preempted.status.as_mut().unwrap().conditions = serde_json::from_value(condition).unwrap();
    assert_eq!(said(&preempted), None);
    let mut deleted = failed(ended(137, "Error"));
    deleted.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-29T23:00:00Z")).unwrap();
    assert_eq!(said(&deleted), None);
    assert_eq!(said(&failed(ended(75, "Error"))), None);
    let evicted = pod(
        json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
    );
    assert_eq!(said(&evicted).unwrap(), "Evicted: The node was low on resource: memory.");
}
