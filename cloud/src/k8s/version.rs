//! The oldest Kubernetes that the Job works on.

use kube::Client;

use crate::error::{Error, Result};

/// From this version on, Jobs have a success policy and a backoff limit per index without any feature gate. An
/// older API server drops such fields without notice: the Job would never end.
pub(crate) const OLDEST: (u32, u32) = (1, 33);

/// Refuses an API server that is too old, with `hint`.
pub(crate) async fn new_enough(client: &Client, hint: &str) -> Result<()> {
    let doing = "ask for the cluster's version";
    let info = client
        .apiserver_version()
        .await
        .map_err(|error| crate::k8s::object::failed(doing.to_owned(), &error))?;
    if is_new_enough(&info.major, &info.minor) {
        return Ok(());
    }
    let why = format!(
        "it is Kubernetes {}, and the Job needs {}.{} or newer",
        info.git_version, OLDEST.0, OLDEST.1
    );
    Err(Error::with_hint("use the cluster", why, hint))
}

/// Providers write `33+`.
fn is_new_enough(major: &str, minor: &str) -> bool {
    let number =
        |text: &str| text.trim_end_matches(|byte: char| !byte.is_ascii_digit()).parse::<u32>().unwrap_or(0);
    (number(major), number(minor)) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn versions_are_compared_by_number() {
        let table = [
            ("1", "33", true),
            ("1", "32", false),
            ("1", "33+", true),
            ("1", "9", false),
            ("2", "0", true),
            ("", "", false),
        ];
        for (major, minor, expected) in table {
            assert_eq!(is_new_enough(major, minor), expected, "{major}.{minor}");
        }
    }
}
