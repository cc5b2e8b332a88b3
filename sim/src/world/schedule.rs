//! What happens in a world: who works on what, and what goes wrong when. A pure function of a
//! seed, recorded as data, so that it can be replayed and shrunk.

use serde::{Deserialize, Serialize};

use worker::mutant::Mutant;

use super::dice::Dice;
use super::fault::{Fault, FaultKind, KINDS, kind_of};
use super::oddity::Oddities;
use super::params::{Params, RETRIES, Results, TIME_MS_MAX};
use super::swarm::Swarm;

/// A world's make-up and its faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Decides latencies, nonces and how much of a torn write is left.
    pub seed: u64,
    pub params: Params,
    /// In the order in which they are injected.
    pub faults: Vec<Fault>,
    /// A rule that everybody forgets: for tests of the tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<Mutant>,
}

impl Schedule {
    /// Whether a schedule that was read can be run.
    ///
    /// # Errors
    /// With what no world can have.
    pub fn check(&self) -> Result<(), String> {
        self.params.check()?;
        match self.faults.iter().find(|fault| fault.what.longest_ms() > TIME_MS_MAX) {
            Some(fault) => Err(format!("a {} lasts longer than {TIME_MS_MAX} ms", fault.what.name())),
            None => Ok(()),
        }
    }

    /// The schedule of a seed, with faults of the given kinds.
    pub fn of_seed(seed: u64, kinds: &[usize]) -> Self {
        let mut dice = Dice::new(seed);
        let swarm = Swarm::of_seed(&mut dice, kinds);
        let mut params = Params::of_seed(&mut dice);
        swarm.shape(&mut params, &mut dice);
        let calls = params.calls();
        let pushes: Vec<u64> = params.pushes.iter().map(|push| push.at).collect();
        params.oddities.abandon = Oddities::abandon_of_seed(seed, calls, &pushes);
        params.hints = !seed.is_multiple_of(3);
        let power = kind_of("power-loss").filter(|kind| swarm.kinds.contains(kind));
        let count = match () {
            () if swarm.kinds.is_empty() => 0,
            () if swarm.is_of_few() => dice.between(1, 6),
            () => dice.between(0, 3) * dice.between(0, 4),
        };
        let faults: Vec<Fault> = (0..count)
            .map(|_| {
                let at = dice.between(0, calls);
                let what = swarm.fault(&mut dice);
                // Where there is no server that could fail, the power does.
                let power = power.filter(|_| params.on_one_machine && what.needs_a_server());
                Fault { at, what: power.map_or(what, |power| FaultKind::of_kind(power, &mut dice)) }
            })
            .collect();
        // Last, so that seeds from before there were such results tell the same story.
        params.large = dice.chance(1, 4);
        Self::new(seed, params, faults)
    }

    /// A schedule of these faults, without the faults that no worker could bear.
    pub fn new(seed: u64, params: Params, mut faults: Vec<Fault>) -> Self {
        // Torn commits need results that can be recomputed.
        faults.retain(|fault| params.results == Results::Same || fault.what != FaultKind::Tear);
        // So does what is not synced, and a workload that lies says that they can.
        let lost =
            |what: &FaultKind| matches!(what, FaultKind::PowerLoss { .. }) && params.results == Results::Lie;
        faults.retain(|fault| !(params.on_one_machine && (fault.what.needs_a_server() || lost(&fault.what))));
        let unfit = |what: &FaultKind| if params.bucket { what.needs_files() } else { what.needs_a_bucket() };
        faults.retain(|fault| !unfit(&fault.what));
        let mut misreads = 0;
        // More of them would use up an item's retries, as they should.
        faults.retain(|fault| {
            misreads += u32::from(matches!(fault.what, FaultKind::Misread { .. }));
            misreads < RETRIES || !matches!(fault.what, FaultKind::Misread { .. })
        });
        faults.sort_by_key(|fault| fault.at);
        Self { seed, params, faults, mutant: None }
    }

    pub fn of_any_kind(seed: u64) -> Self {
        let kinds: Vec<usize> = (0..KINDS.len()).collect();
        Self::of_seed(seed, &kinds)
    }
}
