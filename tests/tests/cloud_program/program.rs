//! The deployer's program, pointed at the stand-in.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use tests::standin::Standin;
use tokio::process::Command;

/// The program with its environment.
pub(crate) struct Cloud {
    pub(crate) variables: Vec<(String, String)>,
    /// Where it runs, and keeps its state.
    pub(crate) folder: PathBuf,
}

impl Cloud {
    pub(crate) fn new(standin: &Standin, token: &str, folder: PathBuf) -> Self {
        let mut variables = standin.variables();
        variables.push(("CLOUDSDK_CORE_PROJECT".into(), "my-project".into()));
        variables.push(("CLOUDSDK_AUTH_ACCESS_TOKEN".into(), token.into()));
        Self { variables, folder }
    }

    /// Runs it to its end, while the stand-in serves its requests.
    pub(crate) async fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    /// Returns the command, for tests that talk to the program while it runs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloud-under-test"));
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null()).kill_on_drop(true);
        command.env_remove("RUST_LOG").env_remove("KUBECONFIG").envs(self.variables.iter().cloned());
        command.env("CLOUD_STATE_DIR", self.folder.join("state"));
        command
    }
}
