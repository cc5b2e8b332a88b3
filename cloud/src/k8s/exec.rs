//! Programs run inside a pod, as `kubectl exec` does.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::{Error, Kind, Result};

/// Bytes between us and the connection; kube's own 1 KiB makes for one message a kilobyte.
const BUFFER: usize = 256 * 1024;

/// A pod to run programs in.
#[derive(Clone)]
pub struct PodExec {
    pods: Api<Pod>,
    pod: String,
}

impl std::fmt::Debug for PodExec {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PodExec").field("pod", &self.pod).finish_non_exhaustive()
    }
}

impl PodExec {
    pub fn new(pods: Api<Pod>, pod: &str) -> Self {
        Self { pods, pod: pod.to_owned() }
    }

    /// Runs a shell script and gives what it printed. `input` is its standard input.
    ///
    /// # Errors
    /// If the pod is not there, or the script fails: then with what it wrote to its standard error.
    pub async fn sh(&self, script: &str, input: &[u8], doing: &str) -> Result<Vec<u8>> {
        let mut output = Vec::new();
        let send = async |mut stdin: Box<dyn AsyncWrite + Send + Unpin>| {
            stdin.write_all(input).await?;
            stdin.shutdown().await
        };
        self.pipe(script, send, &mut output, doing).await?;
        Ok(output)
    }

    /// Runs a shell script, with what `send` writes as its standard input, and its standard output into
    /// `output`.
    pub async fn pipe<S, W>(&self, script: &str, send: S, output: &mut W, doing: &str) -> Result<()>
    where
        S: AsyncFnOnce(Box<dyn AsyncWrite + Send + Unpin>) -> std::io::Result<()>,
        W: AsyncWrite + Unpin,
    {
        let params = AttachParams::default()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER);
        let lost = |error: &dyn std::fmt::Display| Error::new(doing, error.to_string(), Kind::Transient);
        let mut process =
            self.pods.exec(&self.pod, ["sh", "-c", script], &params).await.map_err(|error| lost(&error))?;
        let (Some(stdin), Some(mut stdout), Some(mut stderr), Some(status)) =
            (process.stdin(), process.stdout(), process.stderr(), process.take_status())
        else {
            return Err(Error::other(doing, "the connection lacks a stream"));
        };
        let hear = async {
            let mut said = String::new();
            let (received, heard, status) =
                tokio::join!(copy(&mut stdout, output), stderr.read_to_string(&mut said), status);
            (received.and(heard.map(|_| ())), said, status)
        };
        let mut hear = std::pin::pin!(hear);
        // A program need not read all that it is sent: its end is the end.
        let (sent, (received, said, status)) = tokio::select! {
            biased;
            sent = send(Box::new(stdin)) => (sent, hear.await),
            heard = &mut hear => (Ok(()), heard),
        };
        let status = status.ok_or_else(|| lost(&"the connection broke"))?;
        if status.status.as_deref() != Some("Success") {
            let why = [said.trim(), status.message.as_deref().unwrap_or("")].join(" ");
            return Err(Error::other(doing, format!("in pod {}: {}", self.pod, why.trim())));
        }
        sent.and(received).map_err(|error| lost(&error))
    }
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    tokio::io::copy_buf(&mut tokio::io::BufReader::with_capacity(BUFFER, from), to).await?;
    to.flush().await
}
