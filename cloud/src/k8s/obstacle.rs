//! What Kubernetes says is in the way of something that is waited for, and whether waiting can help.
//! Pure: from events and statuses to words and an outlook. The words are Kubernetes' own.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

/// What is to be expected of an obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It may pass by itself: a node joins, a registry or a server comes back, a quota is freed.
    MayPass,
    /// No waiting helps. Carries what to do.
    Hopeless(String),
}

/// Something that Kubernetes reports as being in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Kubernetes' words on one line, `FailedMount: MountVolume.SetUp failed …`.
    pub words: String,
    pub outlook: Outlook,
}

impl Obstacle {
    fn passing(words: String) -> Self {
        Self { words, outlook: Outlook::MayPass }
    }

    fn hopeless(words: String, hint: impl Into<String>) -> Self {
        Self { words, outlook: Outlook::Hopeless(hint.into()) }
    }
}

/// The exit code of the staging pod's init container for a volume that can't be written to: EX_NOPERM. Its
/// message then says what to do.
pub const NO_PERMISSION: i32 = 77;

/// A failed start is repeated this often before it is believed: a server that is just starting refuses
/// exports that it has a second later, and a container may fail once.
const REPEATED: i32 = 3;

/// A Warning event on one of the deployment's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The event's own name, which stays the same while it is counted up.
    pub id: String,
    /// Kind, name and uid of the object that it is about: `Pod`, `fileserver`.
    pub kind: String,
    pub name: String,
    pub uid: String,
    pub reason: String,
    pub message: String,
    /// How often it happened.
    pub count: i32,
    /// It happened while it was listened for; others may be an hour old.
    pub fresh: bool,
}

/// Reasons of events that a status says as well, or that belong to every start.
const SAID_ELSEWHERE: [&str; 6] = [
    "BackOff",
    "Failed",
    "FailedScheduling",
    "FailedToRetrieveImagePullSecret",
    "InspectFailed",
    "Unhealthy",
];

/// What an event means for what is waited for. None: nothing.
pub fn of_report(report: &Report) -> Option<Obstacle> {
    if SAID_ELSEWHERE.contains(&report.reason.as_str()) {
        return None;
    }
    let words = format!("{}: {}", report.reason, one_line(&report.message));
    let outlook = match report.reason.as_str() {
        "FailedMount" if report.count < REPEATED => Outlook::MayPass,
        "FailedMount" => mount(&report.message),
        "FailedCreate" => creation(&report.message),
        _ => Outlook::MayPass,
    };
    Some(Obstacle { words, outlook })
}

/// What a refusal of a pod's creation means, by admission: not by the lack of a right. None: it is none.
pub fn of_refusal(message: &str) -> Option<Outlook> {
    let known =
        ["exceeded quota", "failed quota", " per Container is", " per Pod is", "limit to request ratio"];
    let admission = known.iter().any(|words| message.contains(words))
        || message.contains("violates PodSecurity")
        || is_denied(message);
    admission.then(|| creation(message))
}

fn creation(message: &str) -> Outlook {
    let hopeless = |hint: &str| Outlook::Hopeless(hint.to_owned());
    let has = |words: &str| message.contains(words);
    if has("exceeded quota") {
        // Other users of the quota may release their share; a quota smaller than one pod never suffices.
        return match asks_more_than_there_is(message) {
            true => hopeless(
                "the namespace's ResourceQuota is smaller than one pod: raise it (`kubectl describe quota`), or \
                 use another namespace",
            ),
            false => Outlook::MayPass,
        };
    }
    if has("failed quota") {
        return hopeless(
            "the namespace's ResourceQuota asks for limits that these pods do not set; use another namespace",
        );
    }
    if has(" per Container is") || has(" per Pod is") || has("limit to request ratio") {
        return hopeless(
            "the namespace's LimitRange refuses these pods: change it (`kubectl describe limitrange`), or use \
             another namespace",
        );
    }
    if has("violates PodSecurity") {
        return hopeless(
            "the namespace enforces a Pod Security Standard that forbids the staging pod's root container: label \
             it `pod-security.kubernetes.io/enforce=privileged`, or use another namespace",
        );
    }
    if is_denied(message) {
        return hopeless(
            "an admission webhook or policy of the cluster refuses these pods; its administrator can say why",
        );
    }
    Outlook::MayPass
}

/// As webhooks deny, and as the server's own policies do (ValidatingAdmissionPolicy).
fn is_denied(message: &str) -> bool {
    ["denied the request", "denied request"].iter().any(|words| message.contains(words))
}

/// Whether a quota's message says that one pod requests more of something than its limit is, whatever is used:
/// `requested: cpu=1,memory=2Gi, used: cpu=0,memory=0, limited: cpu=100m,memory=4Gi`.
fn asks_more_than_there_is(message: &str) -> bool {
    let list = |name: &str| -> Vec<(String, u128)> {
        let rest = message.split_once(&format!("{name}: ")).map_or("", |(_, rest)| rest);
        let rest = rest.split_once(": ").map_or(rest, |(list, _)| list);
        let pairs = rest.split(',').filter_map(|pair| pair.trim().split_once('='));
        pairs.filter_map(|(name, amount)| Some((name.to_owned(), thousandths(amount)?))).collect()
    };
    let limited = list("limited");
    let limit = |name: &str| limited.iter().find(|(limited, _)| limited == name).map(|(_, limit)| *limit);
    list("requested").iter().any(|(name, amount)| limit(name).is_some_and(|limit| *amount > limit))
}

/// A quantity of Kubernetes' in thousandths. None: one that is written otherwise.
fn thousandths(quantity: &str) -> Option<u128> {
    let digits = quantity.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let factor: u128 = match unit {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    number.parse::<u128>().ok()?.checked_mul(factor)
}

/// What a failed mount means, by the words of `mount.nfs`.
fn mount(message: &str) -> Outlook {
    let said = message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|words| said.contains(words));
    let hopeless = |hint: &str| Outlook::Hopeless(hint.to_owned());
    if any(&["rpc.statd is not running"]) {
        return hopeless("the nodes keep no locks for NFSv3, and none are needed: `--mount-options nolock`");
    }
    if any(&[
        "access denied by server",
        "permission denied",
        "operation not permitted",
        "no such file or directory",
        "not a directory",
        "mnt3err_noent",
    ]) {
        return hopeless(
            "the NFS server has no such export for the cluster's nodes: `showmount --exports SERVER` shows what it \
             exports, and to whom (behind NAT it has to export with `insecure`)",
        );
    }
    if any(&[
        "requested nfs version or transport protocol",
        "protocol not supported",
        "program not registered",
        "program/version mismatch",
    ]) {
        return hopeless(
            "the server does not speak this version of NFS: `--mount-options nfsvers=4.1` for one that has NFSv4 \
             alone (the default is nfsvers=3)",
        );
    }
    if any(&[
        "name or service not known",
        "can not resolv",
        "no address associated with hostname",
        "name does not resolve",
    ]) {
        return hopeless(
            "it is the nodes that resolve the server's name, and not the cluster's DNS: give its address",
        );
    }
    if any(&["incorrect mount option", "invalid argument", "unknown filesystem"]) {
        return hopeless("the nodes' mount refuses these options; --mount-options replaces some of them");
    }
    if any(&["you might need a /sbin/mount", "helper program", "no such device"]) {
        return hopeless(
            "the cluster's nodes have no NFS client: install nfs-common (nfs-utils) on them, and the kernel's module nfs",
        );
    }
    Outlook::MayPass
}

/// What a pod waits for beyond the usual, or why a container of it fails. None: nothing is in its way.
pub fn of_pod(pod: &Pod) -> Option<Obstacle> {
    let status = pod.status.as_ref()?;
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    // A container that is not started again is reported by its end (`of_end`).
    let once = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("Never");
    let inits = status.init_container_statuses.iter().flatten().map(|one| of_container(one, false));
    let others = status.container_statuses.iter().flatten().map(|one| of_container(one, once));
    if let Some(found) = inits.chain(others).flatten().next() {
        return Some(found);
    }
    let unscheduled = |kind: &str, status: &str| kind == "PodScheduled" && status == "False";
    let condition = status.conditions.iter().flatten().find(|one| unscheduled(&one.type_, &one.status))?;
    let parts = [condition.reason.as_deref(), condition.message.as_deref()];
    Some(Obstacle::passing(joined(&parts)))
}

/// Waiting reasons that every pod goes through.
const BEGINNING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

fn of_container(container: &ContainerStatus, once: bool) -> Option<Obstacle> {
    let state = container.state.as_ref()?;
    let before = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    let failed = state.terminated.as_ref().or(before).filter(|ended| ended.exit_code != 0);
    if let Some(ended) = failed.filter(|_| state.running.is_none() && !once) {
        return Some(of_failure(container, ended));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    if BEGINNING.contains(&reason) {
        return None;
    }
    let message = waiting.message.as_deref();
    let words = joined(&[waiting.reason.as_deref(), message]);
    Some(match reason {
        "InvalidImageName" => {
            Obstacle::hopeless(words, "it is no name of an image: give another with --image")
        }
        "ErrImageNeverPull" => {
            Obstacle::hopeless(words, "put the image on the nodes, or name another with --image")
        }
        "CreateContainerConfigError" => Obstacle { words, outlook: secret(message.unwrap_or_default()) },
        "ErrImagePull" | "ImagePullBackOff" => {
            Obstacle { words, outlook: image(message.unwrap_or_default()) }
        }
        _ => Obstacle::passing(words),
    })
}

fn of_failure(container: &ContainerStatus, ended: &ContainerStateTerminated) -> Obstacle {
    let reason = ended.reason.as_deref().unwrap_or("Error");
    let message = ended.message.as_deref().map(one_line).filter(|message| !message.is_empty());
    let said = message.map(|message| format!(": {message}")).unwrap_or_default();
    let words =
        format!("container {} ended with {reason}, exit code {}{said}", container.name, ended.exit_code);
    match ended.exit_code {
        NO_PERMISSION if words.contains("Read-only") => {
            Obstacle::hopeless(words, "the export is read-only: export it with `rw`")
        }
        NO_PERMISSION => Obstacle::hopeless(
            words,
            "the server maps root to another user (root_squash): on it, `chown 65532:65532` the exported folder, or \
             give it mode 0777, or export it with `no_root_squash`",
        ),
        _ if never_started(reason) => Obstacle::hopeless(
            words,
            "the image must run on these nodes, and hold `sh` and `tar`; name another with --image",
        ),
        _ if container.restart_count >= REPEATED => {
            let hint =
                format!("`kubectl logs POD --container {} --previous` shows what it said", container.name);
            Obstacle::hopeless(words, hint)
        }
        _ => Obstacle::passing(words),
    }
}

/// Whether a container's reason says that its program never ran.
fn never_started(reason: &str) -> bool {
    matches!(reason, "StartError" | "ContainerCannotRun")
}

/// What a container that cannot be configured means: a Secret, or a key in it, that is not there.
fn secret(message: &str) -> Outlook {
    let missing = message.contains("not found") || message.contains("couldn't find key");
    if !missing {
        return Outlook::MayPass;
    }
    Outlook::Hopeless(
        "make it in the batch's namespace, `kubectl create secret generic SECRET --from-literal=KEY=VALUE`, or name \
         another with --secret-env"
            .to_owned(),
    )
}

/// What a failed pull means. A registry that can't be reached may be again.
fn image(message: &str) -> Outlook {
    let said = message.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|words| said.contains(words));
    if any(&["x509: ", "gave http response to https client"]) {
        return Outlook::Hopeless(
            "the nodes speak HTTPS to the registry, with certificates that they trust: configure the registry in the \
             nodes' containerd, or name an image elsewhere with --image"
                .to_owned(),
        );
    }
    let never = any(&[
        "not found",
        "manifest unknown",
        "name unknown",
        "no match for platform",
        "no matching manifest",
        "pull access denied",
        "access to the resource is denied",
        "denied: permission",
        "no basic auth credentials",
        "repository does not exist",
        "unauthorized",
        "403 forbidden",
    ]);
    match never {
        false => Outlook::MayPass,
        true => Outlook::Hopeless(
            "the image is not there, or the nodes may not pull it: push it, or name another with --image; a kind \
             cluster is given one with `kind load docker-image IMAGE`"
                .to_owned(),
        ),
    }
}

/// How a worker's pod ended, where that is nothing that preemption explains: killed for its memory, killed by
/// somebody else, evicted, or never started. None: there is nothing to say.
pub fn of_end(pod: &Pod, container: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let statuses = status.container_statuses.iter().flatten();
    let ended =
        statuses.filter(|one| one.name == container).find_map(|one| one.state.as_ref()?.terminated.as_ref());
    let limit = || {
        let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let limits =
            containers.iter().find(|one| one.name == container)?.resources.as_ref()?.limits.as_ref()?;
        Some(format!(" of {}", limits.get("memory")?.0))
    };
    if let Some(ended) = ended.filter(|ended| ended.reason.as_deref() == Some("OOMKilled")) {
        let limit = limit().unwrap_or_default();
        return Some(format!(
            "OOMKilled (exit code {}): the worker, its program included, took more than its memory limit{limit}",
            ended.exit_code
        ));
    }
    if let Some(ended) = ended.filter(|ended| ended.reason.as_deref().is_some_and(never_started)) {
        return Some(joined(&[ended.reason.as_deref(), ended.message.as_deref()]));
    }
    let disrupted = status.conditions.iter().flatten().any(|one| one.type_ == "DisruptionTarget");
    if let Some(reason) = status.reason.as_deref().filter(|reason| *reason == "Evicted") {
        return Some(joined(&[Some(reason), status.message.as_deref()]));
    }
    let killed = ended.is_some_and(|ended| ended.exit_code == 137);
    let unasked = pod.metadata.deletion_timestamp.is_none() && !disrupted;
    (killed && unasked).then(|| {
        "exit code 137: killed with SIGKILL, which nobody asked Kubernetes for; the node's kernel does so where \
         memory runs out (`kubectl describe node` shows its pressure)"
            .to_owned()
    })
}

/// Reason and message as one line.
fn joined(parts: &[Option<&str>]) -> String {
    let parts: Vec<_> = parts.iter().flatten().map(|part| one_line(part)).collect();
    parts.join(": ")
}

/// On one line; of a mount's message without the command that was run, which names folders of the kubelet's.
pub fn one_line(message: &str) -> String {
    let kept = message.lines().map(str::trim);
    let kept = kept.filter(|line| !line.is_empty() && !line.starts_with("Mounting "));
    kept.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
