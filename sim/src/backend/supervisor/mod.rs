//! The one loop that supervises a run, on any backend: it waits for news, for what is due, and for a signal to the
//! simulator itself. What follows from each is decided in `decide.rs`, which is pure.

#![expect(clippy::disallowed_methods, reason = "an adapter: faults are injected in real time")]

use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};
use worker::failure::Failure;

use super::{Backend, Ended, Observer};
use crate::schedule::Schedule;
use crate::story::Story;

mod decide;
mod judge;
#[cfg(test)]
mod tests;

pub use decide::{Policy, in_words, is_preemption};
#[cfg(feature = "kind")]
pub use judge::judge_all;

use decide::{Action, Now, Supervision};

/// The observer's clocks: one that only goes forward, and the wall clock, which is the workers' own.
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Now { elapsed: self.0.elapsed(), wall_ms }
    }

    fn at(&self, elapsed: Duration) -> Instant {
        self.0 + elapsed
    }
}

/// Runs workers under a schedule of faults until the run has ended, or `stop` came. None of them is left then,
/// but where the backend itself ends them.
pub(crate) async fn supervise(
    backend: &mut impl Backend,
    policy: Policy,
    schedule: &Schedule,
    stop: impl Future<Output = ()>,
    observer: Observer<'_>,
) -> Result<(Story, Ended), Failure> {
    let clock = Clock(Instant::now());
    let mut supervision = Supervision::new(policy, schedule, clock.now());
    let mut stop = pin!(stop);
    backend.start().await?;
    let ended = loop {
        let wake = clock.at(supervision.wakes_at());
        let actions = tokio::select! {
            biased;
            () = &mut stop => break Ended::Interrupted,
            news = backend.news() => supervision.hear(clock.now(), news?),
            () = sleep_until(wake) => supervision.wake(clock.now()),
        };
        for action in actions {
            match action {
                Action::Show(update) => observer(supervision.story(), update),
                Action::Inject { fault, preemption, machine } => backend.inject(fault, preemption, machine),
                Action::Over => {
                    backend.over();
                    let names = backend.public_names().await?;
                    supervision.saw_at_first_exit(names);
                }
            }
        }
        if let Some(ended) = supervision.ended(clock.now()) {
            break ended;
        }
    };
    let last = backend.end().await;
    Ok((supervision.conclude(clock.now(), last), ended))
}
