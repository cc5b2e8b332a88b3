//! Swarms: worlds that know only a few kinds of faults, and go deeper there (swarm testing, Groce et al. 2012).
//! What needs three losses of power in a row is rare where 31 kinds of faults take turns.

use super::dice::Dice;
use super::fault::{FaultKind, KINDS, kind_of};
use super::params::{Params, Results};

/// Kinds of faults that meet in a world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swarm {
    /// Numbers in [`KINDS`]; the more often one is listed, the more often it is injected.
    pub kinds: Vec<usize>,
    shape: Shape,
}

/// What a world must be like for its faults to matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Any,
    /// The volume is the machine's own: names are lost with the power.
    OneMachine,
    /// The machines share a server from afar.
    Server,
    /// The volume is a bucket.
    Bucket,
    /// Calls are short and work is long: a notice meets work that does not fit in the grace.
    LongWork,
    /// Short leases: a machine that stands still is taken for dead. Often results vary.
    ShortLease,
}

/// Kinds that make each other worse, and the shape of their world.
const THEMES: [(&[&str], Shape); 17] = [
    (&["power-loss", "power-loss", "kill"], Shape::OneMachine),
    (&["power-loss"], Shape::OneMachine),
    (&["notice"], Shape::LongWork),
    (&["notice", "notice", "kill", "late", "twin"], Shape::LongWork),
    (&["pause", "twin"], Shape::ShortLease),
    (&["pause", "late", "stale-lookups"], Shape::ShortLease),
    (&["queue-error", "queue-away", "queue-reply-lost"], Shape::Any),
    (&["queue-slow", "queue-misconf"], Shape::ShortLease),
    (&["queue-clock-back", "kill", "kill"], Shape::Any),
    (&["queue-wiped", "queue-rollback", "queue-last-second", "queue-read-only"], Shape::Any),
    (&["tear", "kill"], Shape::Any),
    (&["server-restart", "close-error", "kill"], Shape::Server),
    (&["error", "reply-lost", "stale-handle", "silly-rename"], Shape::Server),
    (&["no-space", "hang"], Shape::ShortLease),
    (&["reply-lost", "conflict", "error", "throttle", "kill"], Shape::Bucket),
    (&["cut", "late", "pause"], Shape::Bucket),
    (&["misread", "clock-jump", "notice"], Shape::Any),
];

impl Swarm {
    /// The swarm of a seed, among the kinds that may be injected: a quarter of the worlds have all of these, a quarter
    /// one to three of them by chance, half a theme.
    pub fn of_seed(dice: &mut Dice, kinds: &[usize]) -> Self {
        let everything = Self { kinds: kinds.to_vec(), shape: Shape::Any };
        if kinds.is_empty() {
            return everything;
        }
        match dice.between(0, 3) {
            0 => everything,
            1 => {
                let few = (0..dice.between(1, 3)).map(|_| *dice.pick(kinds)).collect();
                Self { kinds: few, shape: Shape::Any }
            }
            _ => Self::of_theme(*dice.pick(&THEMES), kinds).unwrap_or(everything),
        }
    }

    /// A theme's kinds, as far as they may be injected.
    fn of_theme((names, shape): (&[&str], Shape), kinds: &[usize]) -> Option<Self> {
        let named = names.iter().filter_map(|name| kind_of(name));
        let kinds: Vec<usize> = named.filter(|kind| kinds.contains(kind)).collect();
        (!kinds.is_empty()).then_some(Self { kinds, shape })
    }

    /// Whether it is a few kinds, and not all.
    pub fn is_of_few(&self) -> bool {
        self.kinds.len() < KINDS.len()
    }

    /// Makes a world fit for its faults.
    pub fn shape(&self, params: &mut Params, dice: &mut Dice) {
        match self.shape {
            Shape::Any => {}
            // Few workers that look often at a slow disk: nobody else finds what one of them overlooks.
            Shape::OneMachine => {
                (params.on_one_machine, params.bucket) = (true, false);
                params.oddities.earlier_run |= dice.chance(3, 4);
                params.workers = dice.between(1, params.workers.into()) as u32;
                params.newer = params.newer.filter(|_| params.workers > 1);
                params.idle_ms = *dice.pick(&[20, 20, params.idle_ms]);
                params.results = *dice.pick(&[params.results, params.results, Results::Vary]);
                params.volume_us = *dice.pick(&[params.volume_us, (500, 5_000), (100, 20_000)]);
            }
            Shape::Server => (params.on_one_machine, params.bucket) = (false, false),
            // Often results vary: then it shows whose bytes a worker goes on from.
            Shape::Bucket => {
                (params.on_one_machine, params.bucket) = (false, true);
                params.results = *dice.pick(&[params.results, Results::Vary]);
            }
            Shape::LongWork => {
                params.volume_us = *dice.pick(&[(50, 500), (200, 2_000)]);
                params.grace_ms = *dice.pick(&[100, 500, params.grace_ms]);
                // Some of them: steps that outlast the grace.
                (params.step_us, params.steps) =
                    *dice.pick(&[((1_000, 30_000), 60), ((1_000, 30_000), 12), ((50_000, 600_000), 4)]);
                // A step must not look as if nothing moved.
                params.lease_ms = params.lease_ms.max(500);
            }
            Shape::ShortLease => {
                params.lease_ms = *dice.pick(&[150, 150, 500]);
                if params.results == Results::Same && dice.chance(1, 2) {
                    params.results = *dice.pick(&[Results::Vary, Results::Vary, Results::Lie]);
                }
            }
        }
    }

    /// A fault of one of its kinds.
    pub fn fault(&self, dice: &mut Dice) -> FaultKind {
        FaultKind::of_kind(*dice.pick(&self.kinds), dice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_a_theme_and_every_theme_knows_its_kinds() {
        let all: Vec<usize> = (0..KINDS.len()).collect();
        let mut met = vec![false; KINDS.len()];
        for theme in THEMES {
            let swarm = Swarm::of_theme(theme, &all).unwrap();
            assert_eq!(swarm.kinds.len(), theme.0.len(), "{:?}", theme.0);
            swarm.kinds.iter().for_each(|kind| met[*kind] = true);
        }
        assert_eq!(met, vec![true; KINDS.len()]);
    }

    #[test]
    fn only_the_kinds_asked_for_are_injected() {
        let asked = ["tear", "kill"].map(|name| kind_of(name).unwrap());
        for seed in 0..100 {
            let swarm = Swarm::of_seed(&mut Dice::new(seed), &asked);
            assert!(swarm.kinds.iter().all(|kind| asked.contains(kind)), "seed {seed}");
        }
        assert!(Swarm::of_seed(&mut Dice::new(1), &[]).kinds.is_empty());
    }
}
