//! What of the workers' pods is the user's to choose, and how it is written on a command line.

use std::collections::BTreeMap;

/// What a pod requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodSize {
    /// Thousandths of a vCPU.
    pub milli_cpu: u64,
    pub mib: u64,
}

/// The user's choice. The images decide results; nothing else of it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodChoice {
    /// The image that the worker's program is copied into and started in, unchanged; None: the worker's own.
    pub program_image: Option<String>,
    /// Thousandths of a vCPU, and MiB; None: as much as always.
    pub milli_cpu: Option<u64>,
    pub mib: Option<u64>,
    /// GPUs of each worker.
    pub gpus: u32,
    /// GiB of the folder that attempts work in; None: as much as always.
    pub scratch_gib: Option<u64>,
    /// Labels that a machine must have.
    pub node_selector: BTreeMap<String, String>,
    /// Variables whose values lie in Secrets.
    pub secrets: Vec<SecretEnv>,
    /// Variables that say where a bucket's server is; none is secret.
    pub variables: Vec<(String, String)>,
    /// The Secret by which images are pulled.
    pub pull_secret: Option<String>,
    /// The queue of Kueue's that says when the Job may run.
    pub kueue_queue: Option<String>,
    /// From SIGTERM to SIGKILL; None: what a Spot machine leaves.
    pub grace_s: Option<u32>,
}

impl PodChoice {
    /// Returns what a worker requests; `usual` is its default.
    pub fn size(&self, usual: PodSize) -> PodSize {
        PodSize { milli_cpu: self.milli_cpu.unwrap_or(usual.milli_cpu), mib: self.mib.unwrap_or(usual.mib) }
    }
}

/// A variable whose value is a key of a Secret in the batch's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEnv {
    pub name: String,
    pub secret: String,
    pub key: String,
}

/// The most vCPUs and GiB that a worker can be given: far beyond any machine.
const VCPUS_MAX: u64 = 1_000;
const GIB_MAX: u64 = 100_000;
/// A worker alone takes this much.
const MIB_MIN: u64 = 64;

/// vCPUs as Kubernetes writes them: `2`, `0.5`, `500m`. In thousandths.
///
/// # Errors
/// Says how it is written.
pub fn parse_cpu(text: &str) -> Result<u64, String> {
    let wrong = || "write vCPUs, at least 0.05: 2, 0.5 or 500m".to_owned();
    let digits = |text: &str| -> Option<u64> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let milli = match (text.strip_suffix('m'), text.split_once('.')) {
        (Some(milli), _) => digits(milli),
        (None, None) => digits(text).and_then(|whole| whole.checked_mul(1000)),
        (None, Some((whole, fraction))) if (1..=3).contains(&fraction.len()) => {
            let thousandths = digits(fraction).map(|part| part * 10_u64.pow(3 - fraction.len() as u32));
            digits(whole).and_then(|whole| whole.checked_mul(1000)).zip(thousandths).map(|(a, b)| a + b)
        }
        _ => None,
    };
    milli.filter(|milli| (50..=VCPUS_MAX * 1000).contains(milli)).ok_or_else(wrong)
}

/// Memory as Kubernetes writes it, with a unit: `512Mi`, `8Gi`. In MiB.
///
/// # Errors
/// Says how it is written.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let (number, factor) = match (text.strip_suffix("Gi"), text.strip_suffix("Mi")) {
        (Some(gib), _) => (gib, 1024),
        (None, Some(mib)) => (mib, 1),
        (None, None) => return Err("write it with its unit: 512Mi or 8Gi".to_owned()),
    };
    let mib = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    mib.filter(|mib| (MIB_MIN..=GIB_MAX * 1024).contains(mib))
        .ok_or_else(|| format!("write a whole number of at least {MIB_MIN}Mi: 512Mi or 8Gi"))
}

/// Scratch space: `20Gi`. In GiB.
///
/// # Errors
/// Says how it is written.
pub fn parse_scratch(text: &str) -> Result<u64, String> {
    let gib = text.strip_suffix("Gi").and_then(|number| number.parse::<u64>().ok());
    gib.filter(|gib| (1..=GIB_MAX).contains(gib))
        .ok_or_else(|| "write a whole number of GiB: 20Gi".to_owned())
}

/// The time from SIGTERM to SIGKILL, in seconds: `90s`, `2m`.
///
/// # Errors
/// Says what a machine can leave.
pub fn parse_grace(text: &str) -> Result<u32, String> {
    let span = worker::duration::parse_duration(text)?;
    match u32::try_from(span.as_secs()) {
        Ok(seconds @ 15..=120) if span.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(
            "a Spot machine leaves its pods 15s, and up to 120s where it is asked to: write whole seconds"
                .to_owned(),
        ),
    }
}

/// `NAME=SECRET:KEY`.
///
/// # Errors
/// Names the part that cannot be.
pub fn parse_secret(text: &str) -> Result<SecretEnv, String> {
    let parts = text.split_once('=').and_then(|(name, rest)| Some((name, rest.split_once(':')?)));
    let (name, (secret, key)) = parts.ok_or("write it as NAME=SECRET:KEY")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty()
        || name.starts_with(|first: char| first.is_ascii_digit())
        || !name.bytes().all(is_plain)
    {
        return Err(format!("`{name}` names no variable: letters, digits and underscores"));
    }
    if RESERVED.iter().any(|reserved| name.starts_with(reserved)) || TAKEN.contains(&name) {
        return Err(format!("`{name}` is the worker's own: choose another name"));
    }
    if !is_object(secret) {
        return Err(format!("`{secret}` is no name of a Secret: use a-z, 0-9, `-` and `.`"));
    }
    let is_key = |byte: u8| is_plain(byte) || byte == b'-' || byte == b'.';
    if key.is_empty() || !key.bytes().all(is_key) {
        return Err(format!("`{key}` is no key of a Secret: letters, digits, `-`, `_` and `.`"));
    }
    Ok(SecretEnv { name: name.to_owned(), secret: secret.to_owned(), key: key.to_owned() })
}

/// What variables of the worker's begin with, and those with other names.
const RESERVED: [&str; 2] = ["BATCH_", "WORKER_"];
const TAKEN: [&str; 3] = ["RUN", "HOME", "REDISCLI_AUTH"];

/// The name of an object of Kubernetes'.
///
/// # Errors
/// Says what one is.
pub fn parse_object(text: &str) -> Result<String, String> {
    if is_object(text) {
        return Ok(text.to_owned());
    }
    Err("a name has lower-case letters, digits, `-` and `.`, and begins and ends with a letter or a digit"
        .to_owned())
}

fn is_object(name: &str) -> bool {
    let is_inside =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let bytes = name.as_bytes();
    bytes.len() <= 253
        && bytes.iter().all(|byte| is_inside(*byte))
        && is_end(bytes.first())
        && is_end(bytes.last())
}

/// A label that a machine must have, `KEY=VALUE`.
///
/// # Errors
/// Names the part that cannot be.
pub fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if !prefix.is_none_or(is_object) || name.is_empty() || !is_value(name) {
        return Err(format!("`{key}` is no label's key, as in topology.kubernetes.io/zone"));
    }
    if !is_value(value) {
        return Err(format!("`{value}` is no label's value: letters, digits, `-`, `_` and `.`"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn is_value(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_end = |byte: Option<&u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| is_inside(*byte))
        && is_end(bytes.first())
        && is_end(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_as_kubernetes_does() {
        assert_eq!(["2", "0.5", "500m", "1.25", "0.050"].map(parse_cpu), [2000, 500, 500, 1250, 50].map(Ok));
        for wrong in
            ["", "0", "m", "-1", "+1", "1.", ".5", "1.2345", "2 ", "10m", "1001", "99999999999999999999"]
        {
            assert!(parse_cpu(wrong).is_err(), "{wrong}");
        }
        assert_eq!(["512Mi", "8Gi", "64Mi"].map(parse_memory), [512, 8192, 64].map(Ok));
        for wrong in ["", "8", "8G", "Gi", "1.5Gi", "63Mi", "0Gi", "18446744073709551615Gi"] {
            assert!(parse_memory(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_scratch("20Gi"), Ok(20));
        assert!(["0Gi", "20", "512Mi"].iter().all(|wrong| parse_scratch(wrong).is_err()));
        assert_eq!(["15s", "90s", "2m"].map(parse_grace), [15, 90, 120].map(Ok));
        assert!(["14s", "121s", "15500ms", "90"].iter().all(|wrong| parse_grace(wrong).is_err()));
    }

    #[test]
    fn a_secret_is_named_with_its_key() {
        let secret = SecretEnv { name: "TOKEN".into(), secret: "hub".into(), key: "to-ken.txt".into() };
        assert_eq!(parse_secret("TOKEN=hub:to-ken.txt"), Ok(secret));
        let wrong =
            ["TOKEN", "TOKEN=hub", "=hub:k", "1A=hub:k", "A B=hub:k", "A=Hub:k", "A=hub:", "A=hub:k k"];
        assert!(wrong.iter().all(|wrong| parse_secret(wrong).is_err()));
        let taken = ["BATCH_SEED=a:k", "WORKER_NAME=a:k", "REDISCLI_AUTH=a:k", "HOME=a:k"];
        assert!(taken.iter().all(|taken| parse_secret(taken).unwrap_err().contains("the worker's own")));
    }

    #[test]
    fn labels_and_names_are_kubernetes() {
        let label = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        let zone = "topology.kubernetes.io/zone";
        assert_eq!(parse_label(&format!("{zone}=a-1")), label(zone, "a-1"));
        assert_eq!(parse_label("pool="), label("pool", ""));
        for wrong in ["pool", "=x", "a/b/c=x", "Up.Per/a=x", "a=b c", "a=-b", "-a=b"] {
            assert!(parse_label(wrong).is_err(), "{wrong}");
        }
        assert!(parse_object("team-a.queue").is_ok());
        assert!(["", "A", "-a", "a-", "a_b"].iter().all(|wrong| parse_object(wrong).is_err()));
    }
}
