//! A proxy before a store that fails as networks and busy servers do: answers are lost after the effect, requests
//! before it, servers say 503, 429 and 409, bodies are cut, and a request that was answered arrives once more, late.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::listen;

/// What befalls a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection breaks before the store sees the request.
    LostBefore,
    /// The store does as asked; the connection breaks before its answer.
    LostAfter,
    /// 503, and nothing done.
    Unavailable,
    /// 500, and all done.
    ErrorAfter,
    /// 429, and nothing done: too many writes to one name.
    Throttled,
    /// 409, and nothing done: another write was under way. Of writes alone.
    Conflict,
    /// The answer's body ends in the middle.
    Cut,
    /// All is well; the request arrives once more, some requests later. Of writes alone.
    Late,
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::LostBefore,
        Self::LostAfter,
        Self::Unavailable,
        Self::ErrorAfter,
        Self::Throttled,
        Self::Conflict,
        Self::Cut,
        Self::Late,
    ];
}

type Answer = Response<Reply>;

/// An answer's body, whole or cut.
#[derive(Debug)]
enum Reply {
    Whole(Full<Bytes>),
    /// What is left of it before the connection breaks.
    Half(Option<Bytes>),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Half(half) => Poll::Ready(Some(half.take().map(Frame::data).ok_or(Broken))),
        }
    }
}

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    seed: u64,
    /// One request in this many meets a fault.
    one_in: u64,
    requests: u64,
    fired: BTreeMap<Fault, u64>,
    /// Requests that arrive once more, and before which request.
    late: Vec<(u64, Request<Bytes>)>,
}

/// A proxy, for as long as the process lives.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Stands before a port of this machine; what befalls which request follows from the seed.
    pub fn before(port: u16, seed: u64, one_in: u64) -> Self {
        let upstream = SocketAddr::from(([127, 0, 0, 1], port));
        let state = State { upstream, seed, one_in, requests: 0, fired: BTreeMap::new(), late: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let served = state.clone();
        let address = listen(move |stream| serve(stream, served.clone()));
        Self { address, state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How often each fault befell a request.
    pub fn fired(&self) -> BTreeMap<Fault, u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).fired.clone()
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| pass(request, state.clone()));
    // An error of the service breaks the connection, which is what it is for.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection is to break.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks")]
struct Broken;

async fn pass(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Answer, Broken> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    let request = Request::from_parts(head, body);
    let (upstream, fault, late) = state.lock().unwrap_or_else(PoisonError::into_inner).next(&request);
    for request in late {
        let _ = forward(upstream, request).await;
    }
    match fault {
        Some(Fault::LostBefore) => Err(Broken),
        Some(Fault::Unavailable) => Ok(said(StatusCode::SERVICE_UNAVAILABLE)),
        Some(Fault::Throttled) => Ok(said(StatusCode::TOO_MANY_REQUESTS)),
        Some(Fault::Conflict) => Ok(said(StatusCode::CONFLICT)),
        Some(Fault::LostAfter) => {
            forward(upstream, request).await?;
            Err(Broken)
        }
        Some(Fault::ErrorAfter) => {
            forward(upstream, request).await?;
            Ok(said(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Some(Fault::Cut) => {
            let (mut head, body) = forward(upstream, request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            // The client waits for all of it.
            head.headers.insert("content-length", body.len().into());
            Ok(Response::from_parts(head, Reply::Half(Some(body.slice(..body.len() / 2)))))
        }
        Some(Fault::Late) | None => forward(upstream, request).await,
    }
}

fn said(status: StatusCode) -> Answer {
    let mut answer = Response::new(Reply::Whole(Full::default()));
    *answer.status_mut() = status;
    answer
}

async fn forward(upstream: SocketAddr, request: Request<Bytes>) -> Result<Answer, Broken> {
    let stream = TcpStream::connect(upstream).await.map_err(|_| Broken)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Broken)?;
    let connection = tokio::spawn(connection);
    let (head, body) = request.into_parts();
    let answer = sender.send_request(Request::from_parts(head, Full::new(body))).await.map_err(|_| Broken)?;
    let (mut head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|_| Broken)?.to_bytes();
    connection.abort();
    head.headers.remove("transfer-encoding");
    head.headers.remove("connection");
    Ok(Response::from_parts(head, Reply::Whole(Full::new(body))))
}

impl State {
    /// What befalls the next request, and which requests arrive before it.
    fn next(&mut self, request: &Request<Bytes>) -> (SocketAddr, Option<Fault>, Vec<Request<Bytes>>) {
        self.requests += 1;
        let dice = mix(self.seed ^ self.requests.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let is_write = request.method() == "PUT";
        let fault = dice.is_multiple_of(self.one_in).then(|| {
            let all: Vec<Fault> = Fault::ALL
                .into_iter()
                .filter(|fault| is_write || !matches!(fault, Fault::Conflict | Fault::Late))
                .collect();
            all[(dice >> 32) as usize % all.len()]
        });
        if let Some(fault) = fault {
            *self.fired.entry(fault).or_default() += 1;
        }
        if fault == Some(Fault::Late) {
            self.late.push((self.requests + 1 + (dice >> 48) % 50, request.clone()));
        }
        let now = self.requests;
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = later;
        let due: Vec<(u64, Request<Bytes>)> = due;
        (self.upstream, fault, due.into_iter().map(|(_, request)| request).collect())
    }
}

/// SplitMix64's mixing (Steele, Lea, Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
