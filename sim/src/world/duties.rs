//! How a worker has to behave between what it commits, held against each call that it makes: heartbeats in time,
//! progress saved in time and at the notice, delays that are reset, items offered on acknowledging.

use std::rc::Rc;

use worker::contract::RunPaths;
use worker::events::{What, first_of};
use worker::item::{Item, Name};
use worker::pipeline::REPORT;
use worker::queue::{Claim, Ownership, Release};

use super::ask::{Ask, QueueReply};
use super::broken::Broken;
use super::clock::{Micros, ms};
use super::conduct::Conduct;
use super::fault::FaultKind;
use super::machine::Machine;
use super::params::paths;
use super::toy;
use super::world::{RUN, World};

/// Whether what a worker asks of the queue is what a worker may ask.
pub fn asked(world: &World, machine: &Machine, ask: &Ask) -> Option<Broken> {
    let conduct = &machine.conduct;
    match ask {
        Ask::Claim { .. } if machine.stopping.get().is_some() => {
            Some(Broken::waste(format!("{} claims although it has had notice to stop", machine.name)))
        }
        Ask::Claim { .. } if is_deaf_to_abandon(world, machine) => {
            Some(Broken::waste(format!("{} claims although the run is abandoned", machine.name)))
        }
        Ask::Claim { .. } => still_left(world, machine),
        Ask::Heartbeat(claim, lease, _) => {
            let lease = lease.as_micros() as Micros;
            let is_late = beat_is_late(conduct, world, lease);
            conduct.beat_at.set(world.now());
            if is_late {
                return Some(Broken::waste(format!(
                    "{} extends its lease of {} too late",
                    machine.name, claim.item
                )));
            }
            // A machine that stood still, or waited for the queue, notices late what moved and when.
            let still = world.now().saturating_sub(machine.moved_at.get());
            let excused = || machine.paused.get() || world.has_faults(FaultKind::is_of_queue);
            if still > ms(world.params.stall_ms()) + lease && !excused() {
                let detail =
                    format!("{} extends its lease of {} although nothing moves", machine.name, claim.item);
                return Some(Broken::new("liveness", detail));
            }
            None
        }
        Ask::Release(claim, delay, Release::NotReady) => {
            let in_a_row = conduct.released_in_a_row.get() + 1;
            conduct.released_in_a_row.set(in_a_row);
            let most = ms(world.params.idle_ms) << claim.failures.max(in_a_row).min(6);
            // A worker that ends need not wait; one that the queue failed says the same and has another reason.
            let excused = delay.is_zero() || world.has_faults(FaultKind::is_of_queue);
            let least = if excused { 0 } else { most / 2 };
            let delay = delay.as_micros() as Micros;
            (delay < least || delay > most).then(|| {
                let detail = format!(
                    "{} delays {} by {delay} µs, and {least} to {most} is right",
                    machine.name, claim.item
                );
                Broken::waste(detail)
            })
        }
        Ask::Release(claim, delay, Release::Preempted) if !delay.is_zero() => {
            Some(Broken::waste(format!("{} delays {}, which waits for nothing", machine.name, claim.item)))
        }
        Ask::Ack(claim, _) => {
            conduct.released_in_a_row.set(0);
            conduct.left_by_others.replace(left_by_others(world, claim));
            None
        }
        Ask::Release(..) => {
            conduct.released_in_a_row.set(0);
            None
        }
        _ => None,
    }
}

/// What attempts of machines that are gone left of an item that was redelivered.
fn left_by_others(world: &World, claim: &Claim) -> Vec<String> {
    let attempts = RunPaths::new(RUN).attempts();
    let is_alive = |name: &&str| {
        let path = format!("{attempts}/{name}");
        let holds = |machine: &Rc<Machine>| {
            machine.alive.get()
                && machine.held.borrow().as_ref().is_some_and(|held| path.starts_with(&held.attempt))
        };
        world.machines.borrow().iter().any(holds)
    };
    let is_earlier = |name: &&str| {
        RunPaths::of_attempt(name).is_some_and(|(item, token)| item == claim.item.name && token < claim.token)
    };
    let server = world.share.server.borrow();
    let names = server.names(&attempts).into_iter().filter(|_| claim.taken_over_from.is_some());
    names.filter(is_earlier).filter(|name| !is_alive(name)).map(str::to_owned).collect()
}

/// Whether a worker that claims the next item has left them there.
fn still_left(world: &World, machine: &Machine) -> Option<Broken> {
    let left = machine.conduct.left_by_others.take();
    if world.has_faults(|what| !what.takes_a_machine()) {
        return None;
    }
    let server = world.share.server.borrow();
    let there = server.names(&RunPaths::new(RUN).attempts());
    let name = left.into_iter().find(|name| there.contains(&name.as_str()))?;
    Some(Broken::waste(format!("{} leaves {name} behind, of a machine that is gone", machine.name)))
}

/// The queue did what a worker asked. One that works alone, and that nothing has disturbed, knows all that can be
/// done next.
pub fn answered(world: &World, machine: &Machine, ask: &Ask, answer: &QueueReply) -> Option<Broken> {
    if matches!(answer, QueueReply::Ownership(Ownership::Lost)) {
        machine.conduct.silent.set(true);
    }
    let Ask::Ack(claim, next) = ask else { return None };
    let knows_all = world.params.workers == 1 && world.watch.tally().faults == 0;
    let at_first = if claim.item == Item::BEGIN { paths(&world.params).len() } else { 0 };
    if knows_all && world.params.listed && next.len() < at_first && machine.stopping.get().is_none() {
        let detail = format!("{} offers {} of {at_first} items that it could", machine.name, next.len());
        return Some(Broken::waste(detail));
    }
    let is_last = claim.item == REPORT || machine.stopping.get().is_some();
    (knows_all && next.is_empty() && !is_last && world.queue_is_empty()).then(|| {
        let detail = format!("{} acknowledges {} and offers nothing", machine.name, claim.item);
        Broken::waste(detail)
    })
}

/// Whether a worker that nothing disturbs has not noticed for long that the run was left: busy ones look for it as often
/// as they list commits, which costs a twentieth of their time.
fn is_deaf_to_abandon(world: &World, machine: &Machine) -> bool {
    let params = &world.params;
    let call = params.volume_us.1.max(params.queue_us.1);
    let item = ITEM_CALLS * call + (u64::from(params.steps) + 4) * params.step_us.1;
    let most = LISTING_SHARE * LISTING_CALLS * call + ms(params.idle_ms) + 2 * item;
    let since = world.operator.abandoned_at.get().map(|at| at.max(world.quiet_at()).max(machine.started));
    // A busy worker takes a listing that hung for its cost.
    let undisturbed = !world.has_faults(|what| !what.takes_a_machine());
    undisturbed && since.is_some_and(|since| world.now().saturating_sub(since) > most)
}

/// Calls to the volume that a listing takes, at most, and one over how much of a worker's time.
const LISTING_CALLS: u64 = 6;
const LISTING_SHARE: u64 = 20;
/// Calls that an item takes.
const ITEM_CALLS: u64 = 60;

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
pub fn noted(world: &World, machine: &Machine, what: &What) -> Option<Broken> {
    let conduct = &machine.conduct;
    match what {
        What::Claimed { .. } | What::Resumed { .. } => conduct.safe(world.now()),
        What::Stalled { .. } => conduct.silent.set(true),
        What::Saved { item, .. } => {
            conduct.safe(world.now());
            return unwritten(world, machine, *item);
        }
        What::GaveBack { item, why: Release::Preempted, .. } => {
            let spent = world.now() - machine.stopping.get().unwrap_or(world.now());
            let had_time = spent < world.params.grace() * 3 / 4 && !world.has_faults(FaultKind::is_of_volume);
            if had_time && first_of(*item).is_some() && conduct.unsaved() > 0 {
                let detail = format!("{} releases {item} and saves nothing of it", machine.name);
                return Some(Broken::waste(detail));
            }
        }
        _ => {}
    }
    None
}

/// A worker has done a step that it began then. It may go on after a notice to stop, for a share of the grace, and
/// notices at the end of a step that the share is over: one more may begin, and no second.
pub fn stepped(world: &World, machine: &Machine, began: Micros) -> Option<Broken> {
    let since = began.saturating_sub(machine.stopping.get()?);
    if since < world.params.grace() * GRACE_FIFTHS / 5 {
        return None;
    }
    let late = machine.conduct.late_steps.get() + 1;
    machine.conduct.late_steps.set(late);
    (late == 2).then(|| {
        let detail = format!("{} begins a step {since} µs after its notice to stop", machine.name);
        Broken::waste(detail)
    })
}

/// The share of the grace in which a worker goes on. The engine has its own: what it does is held against this.
const GRACE_FIFTHS: u64 = 3;

/// Whether a state is not there that was saved: unless another has committed the item, and swept it, or has it by a
/// redelivery, goes on from that state, and has removed it.
fn unwritten(world: &World, machine: &Machine, item: Name) -> Option<Broken> {
    let index = first_of(item)?;
    if world.has_faults(FaultKind::is_of_volume) {
        return None;
    }
    let held = machine.held.borrow();
    let held = held.as_ref()?;
    let is_redelivered = |other: &Rc<Machine>| {
        other.held.borrow().as_ref().is_some_and(|its| its.item == item && its.token > held.token)
    };
    if world.machines.borrow().iter().any(is_redelivered) {
        return None;
    }
    let folder = &held.attempt;
    let server = world.share.server.borrow();
    let commit = RunPaths::new(RUN).commit(toy::PIPELINE.folder(toy::PREPARE), index);
    (server.names(folder).is_empty() && server.bytes(&commit).is_none())
        .then(|| Broken::waste(format!("{} says that {item} is saved, and it is not", machine.name)))
}
