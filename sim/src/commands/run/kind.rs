//! `sim run --backend kind`: a cluster made, used and removed, whatever happens in between.

use std::cell::RefCell;
use std::fs::{File, TryLockError};

use cloud::kind::{KindCluster, Spec, down, installed, local_node_image};
use worker::contract::Exit;
use worker::failure::{Failure, INTERRUPTED};

use super::{Prepared, afterwards};
use crate::backend::kind::{Place, Stand};
use crate::report::terminal::{Terminal, tell};
use crate::signals::Signals;

/// Runs it, to an exit code. Of the cluster nothing is left, unless it is to be kept.
pub async fn run(mut prepared: Prepared) -> Result<u8, Failure> {
    let mut signals = Signals::new()?;
    let name = prepared.args.place.cluster();
    let _lock = lock(&name)?;
    let keep = prepared.args.place.keep;
    // Nothing is made before it is known that it can be, and nothing that was not made is removed.
    let place = tokio::select! {
        biased;
        () = signals.recv() => return Ok(INTERRUPTED),
        place = place(&prepared) => place?,
    };
    let answer = tokio::select! {
        biased;
        () = signals.recv() => None,
        answer = in_cluster(&mut prepared, &place) => Some(answer),
    };
    let interrupted = answer.is_none();
    if keep && !interrupted {
        return answer.unwrap_or(Ok(INTERRUPTED));
    }
    if interrupted {
        tell(&format!("interrupted: removing cluster {name}; once more leaves it to `sim down`"));
    }
    let removed = tokio::select! {
        biased;
        () = signals.recv() => Ok(None),
        removed = down(&name) => removed.map(Some),
    };
    match (answer, removed) {
        (Some(answer), Ok(Some(_))) => answer,
        (None, Ok(Some(_))) => Ok(INTERRUPTED),
        (_, Ok(None)) => {
            tell(&format!("interrupted again: `sim down --cluster {name}` removes what is left"));
            Ok(INTERRUPTED)
        }
        // Why the run failed says more than why its cluster could not be removed.
        (Some(Err(failure)), Err(error)) => {
            Failure::from(error).report();
            Err(failure)
        }
        (_, Err(error)) => Err(error.into()),
    }
}

async fn in_cluster(prepared: &mut Prepared, place: &Place) -> Result<u8, Failure> {
    let terminal = Terminal::new(prepared.mode, prepared.plan.workers, prepared.commits());
    for line in prepared.headline(None) {
        terminal.say(&line);
    }
    let mut stand = Stand::up(place, &prepared.plan, &mut |line| terminal.say(line)).await?;
    for phase in &stand.phases {
        terminal.say(&format!("  {:<12} {:.1} s", phase.name, phase.seconds));
    }
    let shared = RefCell::new(terminal);
    let mut watch = |story: &_, update| shared.borrow_mut().update(story, update);
    let mut show = |line: &str| shared.borrow_mut().say(line);
    let ran = stand.run(&prepared.plan, &prepared.schedule, &mut watch, &mut show).await;
    shared.into_inner().end(ran.as_ref().ok().map(|(story, _)| story));
    let (story, ended) = ran?;
    let (_forward, queue) = stand.queue().await?;
    prepared.plan.queue = queue;
    prepared.phases = stand.phases.clone();
    // The caller drops this future at a signal: these are for the undisturbed run's processes.
    afterwards::conclude(prepared, &story, ended, &mut Signals::new()?).await
}

async fn place(prepared: &Prepared) -> Result<Place, Failure> {
    let args = &prepared.args.place;
    let binary = args.worker()?;
    // Refuses a cluster of that name that is somebody else's; and where there is no Docker.
    let name = args.cluster();
    KindCluster::open(&name).await?;
    installed().await?;
    let node_image = match args.node_image() {
        Some(image) => Some(image),
        None => local_node_image().await?,
    };
    Ok(Place {
        cluster: Spec { name, workers: prepared.plan.workers, node_image },
        binary,
        image: args.image.clone(),
    })
}

/// A cluster is one simulator's at a time: the volume in it is emptied for each run.
fn lock(cluster: &str) -> Result<File, Failure> {
    let path = std::env::temp_dir().join(format!("sim-{cluster}.lock"));
    let doing = || format!("lock {}", path.display());
    let file = File::create(&path).map_err(|error| {
        let hint = "another user has used a cluster of this name here: give another --cluster";
        Failure::new(Exit::Failed, doing(), error).hint(hint)
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let doing = format!("use cluster {cluster}");
            let failure = Failure::new(Exit::Usage, doing, "another simulator uses it");
            Err(failure.hint("wait for it, or give another --cluster"))
        }
        Err(TryLockError::Error(error)) => Err(Failure::new(Exit::Failed, doing(), error)),
    }
}
