//! What must hold of a run that its operator abandoned.

use worker::contract::RunPaths;
use worker::ending::Ending;
use worker::manifest::normalise;

use super::super::broken::Broken;
use super::super::params::Results;
use super::super::world::{RUN, World};
use super::Check;

/// Whether the volume says that the run was left.
pub fn is_left(world: &World) -> bool {
    let server = world.share.server.borrow();
    let record = Check::new(world, &server).record(&RunPaths::new(RUN).report());
    record.is_ok_and(|record| matches!(Ending::of(&record), Ok(Ending::Left(_))))
}

/// Everything that must hold of a run that was abandoned: it takes nothing in any more, and no push is lost.
pub fn left(world: &World) -> Vec<Broken> {
    let server = world.share.server.borrow();
    let mut check = Check::new(world, &server);
    let (manifest, pages) = match check.manifest() {
        Ok(read) => read,
        Err(why) => {
            check.say(why);
            return check.broken;
        }
    };
    check.chapters(&manifest, pages);
    if server.bytes(&check.paths.violation()).is_some() && world.params.results != Results::Lie {
        check.say("a violation is committed".to_owned());
    }
    if !world.watch.has_queue_lost_something() {
        let queue = world.pushed_left();
        let is_refused = |path: &str| manifest.refused.iter().any(|refusal| refusal.path == path);
        let is_held = |path: &str| normalise(path).is_ok_and(|path| manifest.by_path(&path).is_some());
        let pushed = world.pushed_so_far().into_iter().filter(|_| !world.params.listed);
        for (_, path) in pushed {
            if !(is_held(&path) || is_refused(&path) || queue.contains(&path)) {
                check.say(format!("the push of {path:?} is lost"));
            }
        }
        if let Some(path) = world.pushed_for_the_next().filter(|path| !queue.contains(path)) {
            check
                .say(format!("{path:?} was pushed when the run was abandoned, and is not left for the next"));
        }
    }
    check.broken
}
