//! How a worker has to behave between what it commits, held against each call that it makes: heartbeats in time,
//! progress saved in time and at the notice, delays that are reset, items offered on acknowledging.

use worker::contract::RunPaths;
use worker::events::{What as Noted, first_of};
use worker::item::Name;
use worker::pipeline::REPORT;
use worker::queue::{Ownership, Release};

use super::ask::{Ask, Told};
use super::broken::Broken;
use super::clock::{Micros, ms};
use super::conduct::Conduct;
use super::fault::FaultKind;
use super::machine::Machine;
use super::toy;
use super::world::{RUN, World};

/// Whether what a worker asks of the queue is what a worker may ask.
pub fn asked(world: &World, machine: &Machine, ask: &Ask) -> Option<Broken> {
    let conduct = &machine.conduct;
    match ask {
        Ask::Claim { .. } if machine.stopping.get().is_some() => {
            Some(Broken::waste(format!("{} claims although it was told to stop", machine.name)))
        }
        Ask::Heartbeat(claim, lease, _) => {
            let lease = lease.as_micros() as Micros;
            let is_late = beat_is_late(conduct, world, lease);
            conduct.beat_at.set(world.now());
            if is_late {
                return Some(Broken::waste(format!("{} renews {} too late", machine.name, claim.item)));
            }
            // Whoever stood still, or waited for the queue, notices late what moved and when.
            let still = world.now().saturating_sub(machine.moved_at.get());
            let excused = || machine.paused.get() || world.has_faults(FaultKind::is_of_queue);
            if still > ms(world.params.stall_ms()) + lease && !excused() {
                let detail = format!("{} renews {} although nothing moves", machine.name, claim.item);
                return Some(Broken::new("liveness", detail));
            }
            None
        }
        Ask::Release(claim, delay, Release::NotReady) => {
            let in_a_row = conduct.released_in_a_row.get() + 1;
            conduct.released_in_a_row.set(in_a_row);
            let most = ms(world.params.idle_ms) << claim.failures.max(in_a_row).min(6);
            let delay = delay.as_micros() as Micros;
            (delay > most).then(|| {
                let detail = format!("{} delays {} by {delay} µs, {most} may be", machine.name, claim.item);
                Broken::waste(detail)
            })
        }
        Ask::Ack(..) => {
            conduct.released_in_a_row.set(0);
            None
        }
        _ => None,
    }
}

/// The queue did what a worker asked. One that works alone, and that nothing has disturbed, knows all that can be
/// done next.
pub fn answered(world: &World, machine: &Machine, ask: &Ask, answer: &Told) -> Option<Broken> {
    if matches!(answer, Told::Ownership(Ownership::Lost)) {
        machine.conduct.silent.set(true);
    }
    let Ask::Ack(claim, next) = ask else { return None };
    let knows_all = world.params.workers == 1 && world.watch.tally().faults == 0;
    let is_last = claim.item == REPORT || machine.stopping.get().is_some();
    (knows_all && next.is_empty() && !is_last && world.queue_is_empty()).then(|| {
        let detail = format!("{} acknowledges {} and offers nothing", machine.name, claim.item);
        Broken::waste(detail)
    })
}

/// Whether the next heartbeat is missing though it is due.
fn beat_is_late(conduct: &Conduct, world: &World, lease: Micros) -> bool {
    let due = lease / 3 + 3 * world.params.queue_us.1 + ms(1);
    let since = conduct.beat_at.get().max(conduct.hindered_until.get());
    world.now().saturating_sub(since) > due
}

/// A worker computes: is its lease kept, and is what it did before safe?
pub fn computes(world: &World, machine: &Machine) -> Option<Broken> {
    let held = machine.held.borrow();
    let held = held.as_ref()?;
    let (conduct, params) = (&machine.conduct, &world.params);
    if beat_is_late(conduct, world, ms(params.lease_ms)) && !conduct.silent.get() {
        conduct.silent.set(true);
        let detail = format!("{} works on {} and sends no heartbeat", machine.name, held.item);
        return Some(Broken::waste(detail));
    }
    if first_of(held.item).is_none() || conduct.unsaved() == 0 {
        return None;
    }
    let call = params.volume_us.1.max(params.queue_us.1);
    // A state's block is put and verified before the state is.
    let (calls, steps) = if params.large { (40, 4) } else { (15, 2) };
    let most = 3 * (ms(params.progress_ms) + steps * params.step_us.1 + calls * call);
    // A fault may have kept it from saving; after the last one nothing does.
    let since = conduct.safe_at.get().max(world.quiet_at());
    (world.now().saturating_sub(since) > most).then(|| {
        conduct.safe(world.now());
        Broken::waste(format!("{} works on {} and does not save its progress", machine.name, held.item))
    })
}

/// A worker noted an event.
pub fn noted(world: &World, machine: &Machine, told: &Noted) -> Option<Broken> {
    let conduct = &machine.conduct;
    match told {
        Noted::Claimed { .. } | Noted::Resumed { .. } => conduct.safe(world.now()),
        Noted::Stalled { .. } => conduct.silent.set(true),
        Noted::Saved { item, .. } => {
            conduct.safe(world.now());
            return unwritten(world, machine, *item);
        }
        Noted::GaveBack { item, why: Release::Preempted, .. } => {
            let spent = world.now() - machine.stopping.get().unwrap_or(world.now());
            let had_time = spent < world.params.grace() * 3 / 4 && !world.has_faults(FaultKind::is_of_volume);
            if had_time && first_of(*item).is_some() && conduct.unsaved() > 0 {
                let detail = format!("{} gives {item} back and saves nothing of it", machine.name);
                return Some(Broken::waste(detail));
            }
        }
        _ => {}
    }
    None
}

/// Whether a state is not there that was saved: unless another has committed the item, and swept it.
fn unwritten(world: &World, machine: &Machine, item: Name) -> Option<Broken> {
    let index = first_of(item)?;
    if world.has_faults(FaultKind::is_of_volume) {
        return None;
    }
    let held = machine.held.borrow();
    let folder = &held.as_ref()?.attempt;
    let server = world.share.server.borrow();
    let commit = RunPaths::new(RUN).commit(toy::PIPELINE.folder(toy::PREPARE), index);
    (server.names(folder).is_empty() && server.bytes(&commit).is_none())
        .then(|| Broken::waste(format!("{} says that {item} is saved, and it is not", machine.name)))
}
