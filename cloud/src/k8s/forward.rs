//! A pod's port as one of this machine's, as `kubectl port-forward` does.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};

/// Connections to [`Forward::address`] end at the pod's port for as long as this lives.
#[derive(Debug)]
pub struct Forward {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens on a free port of the loopback address.
///
/// # Errors
/// Where no port is free. The first connection shows whether the pod is there.
pub async fn forward(pods: Api<Pod>, pod: &str, port: u16) -> Result<Forward> {
    let doing = format!("forward a port to pod {pod}");
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| Error::other(&doing, error))?;
    let address = listener.local_addr().map_err(|error| Error::other(&doing, error))?;
    let pod = pod.to_owned();
    let task = tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((here, _)) => {
                    tokio::spawn(join(pods.clone(), pod.clone(), port, here));
                }
                Err(error) => {
                    tracing::debug!(%error, "no further connections are forwarded");
                    return;
                }
            }
        }
    });
    Ok(Forward { address, task })
}

/// Copies both ways until either end closes. A failure closes the connection.
async fn join(pods: Api<Pod>, pod: String, port: u16, mut here: TcpStream) {
    let there = pods.portforward(&pod, &[port]).await;
    let stream = there.map(|mut there| (there.take_stream(port), there));
    match stream {
        Ok((Some(mut stream), _there)) => {
            let ended = tokio::io::copy_bidirectional(&mut here, &mut stream).await;
            tracing::debug!(?ended, "a forwarded connection ended");
        }
        Ok((None, _)) => tracing::debug!("the API server opened no stream"),
        Err(error) => tracing::debug!(%error, "forward"),
    }
}
