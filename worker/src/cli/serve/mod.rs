//! `worker serve`: a run as a page and as Prometheus metrics, for as long as the command runs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::LocalSet;

use self::metrics::{Extra, metrics};
use super::table::for_a_time;
use super::watched::{Moment, Watched};
use super::{Failure, VolumeArgs, doctor, named_or_newest, print, watch};
use crate::contract::Exit;
use crate::page::STYLE;
use crate::system::{Machine, System};

pub(crate) mod metrics;

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    on: VolumeArgs,
    /// The run's name [default: the newest number, at each look]
    #[arg(long, env = "WORKER_RUN", value_name = "NAME")]
    run: Option<String>,
    /// The address to listen on. There is no authentication: listen only on this machine, or on a network that you trust.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// What one worker costs an hour, in dollars: the cost so far is shown and exported
    #[arg(long, value_name = "DOLLARS")]
    price: Option<f64>,
}

/// A look at the volume serves all who ask within this time.
const FRESH: Duration = Duration::from_secs(1);
/// Connections at a time; others are closed.
const CONNECTIONS_MAX: usize = 64;
/// The longest wait for a request.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// What is served, and the last look at it.
struct Served {
    args: ServeArgs,
    machine: Machine,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    watched: Option<Watched>,
    looked: Option<(Duration, Rc<Moment>)>,
}

/// Serves until a signal asks the command to stop.
pub(crate) async fn serve(args: ServeArgs) -> Result<Exit, Failure> {
    args.on.store().await?;
    let doing = format!("listen on {}", args.listen);
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::new(Exit::Failed, &doing, error)
            .hint("another program may have the port: choose one with --listen")
    })?;
    let address = listener.local_addr().map_err(Failure::when(Exit::Failed, doing))?;
    let machine = Machine::new(false).map_err(Failure::when(Exit::Failed, "listen for signals"))?;
    print(&format!("listening on http://{address}/ and http://{address}/metrics\n"))?;
    let served = Rc::new(Served { args, machine, last: Mutex::default() });
    LocalSet::new().run_until(accept(&listener, &served)).await;
    Ok(Exit::Finished)
}

async fn accept(listener: &TcpListener, served: &Rc<Served>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = served.machine.stop_requested() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(place) = places.clone().try_acquire_owned() {
                    let served = served.clone();
                    tokio::task::spawn_local(async move {
                        connection(stream, served).await;
                        drop(place);
                    });
                }
            }
            // Out of handles for a while.
            Err(_) => served.machine.sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, served: Rc<Served>) {
    let service = service_fn(move |request| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(served.response(&request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_MAX);
    // Who went away needs no answer.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

impl Served {
    async fn response(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        const TEXT: &str = "text/plain; charset=utf-8";
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned());
        }
        let path = request.uri().path();
        if path == "/healthz" {
            return response(StatusCode::OK, TEXT, "ok\n".to_owned());
        }
        if !["/", "/metrics", "/run.json"].contains(&path) {
            let there = "there are /, /metrics, /run.json and /healthz\n";
            return response(StatusCode::NOT_FOUND, TEXT, there.to_owned());
        }
        let moment = match self.look().await {
            Ok(moment) => moment,
            Err(failure) => return response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{failure}\n")),
        };
        match path {
            "/metrics" => {
                let extra = Extra {
                    free_bytes: self.args.on.volume.folder().and_then(doctor::free_bytes),
                    price: self.args.price,
                };
                response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics(&moment, extra))
            }
            "/run.json" => {
                let json = serde_json::to_string_pretty(&*moment).unwrap_or_default() + "\n";
                response(StatusCode::OK, "application/json", json)
            }
            _ => {
                let page =
                    Page::of(&moment, self.args.price).render().unwrap_or_else(|error| error.to_string());
                response(StatusCode::OK, "text/html; charset=utf-8", page)
            }
        }
    }

    /// The run as it stands, or stood a moment ago.
    async fn look(&self) -> Result<Rc<Moment>, Failure> {
        let mut last = self.last.lock().await;
        let now = self.machine.elapsed();
        if let Some((at, moment)) = &last.looked
            && now.saturating_sub(*at) < FRESH
        {
            return Ok(moment.clone());
        }
        let store = self.args.on.store().await?;
        let run = named_or_newest(&store, self.args.run.clone()).await?;
        let mut watched = match last.watched.take() {
            Some(watched) if watched.run == run => watched,
            _ => Watched::new(store, run),
        };
        let moment = Rc::new(watched.look(&self.machine).await?);
        (last.watched, last.looked) = (Some(watched), Some((self.machine.elapsed(), moment.clone())));
        Ok(moment)
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// The page, which loads itself again while the run goes on.
#[derive(Template)]
#[template(path = "live.html")]
struct Page<'m> {
    style: &'static str,
    moment: &'m Moment,
    title: String,
    is_open: bool,
    is_good: bool,
    took: String,
    percent: u64,
    steps: String,
    preemptions: String,
    cost: Option<String>,
    workers: Vec<[String; 5]>,
    datasets: Vec<[String; 6]>,
}

/// Datasets that a page shows: the others are counted.
const DATASETS_MAX: usize = 500;

impl<'m> Page<'m> {
    fn of(moment: &'m Moment, price: Option<f64>) -> Self {
        let progress = moment.progress;
        let datasets = moment.datasets.iter().take(DATASETS_MAX).map(|row| {
            [
                row.index.to_string(),
                row.path.clone(),
                row.state.words(),
                row.attempts.to_string(),
                for_a_time(row.busy_ms),
                row.reason.clone().or(row.worker.clone()).unwrap_or_default(),
            ]
        });
        let workers = moment.workers.iter().map(|row| {
            let (held, since) = row.life.holds.as_ref().map_or_else(Default::default, |held| {
                let what = held.dataset.clone().unwrap_or_default();
                (format!("{} {what}", held.item), for_a_time(moment.at_ms.saturating_sub(held.since_ms)))
            });
            let last = for_a_time(moment.at_ms.saturating_sub(row.life.last_ms));
            [row.life.worker.clone(), row.state.words().to_owned(), held, since, last]
        });
        Self {
            style: STYLE,
            title: format!("run {}: {}", moment.run, moment.state.word()),
            is_open: !moment.state.has_ended(),
            is_good: moment.state.word() == "complete",
            took: for_a_time(watch::took_ms(moment)),
            percent: (100 * progress.done).checked_div(progress.all).unwrap_or(0),
            steps: watch::steps(moment),
            preemptions: watch::preemptions(moment),
            cost: price.map(|price| watch::cost(moment, price)),
            workers: workers.collect(),
            datasets: datasets.collect(),
            moment,
        }
    }
}
