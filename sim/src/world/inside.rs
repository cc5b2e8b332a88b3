//! The worker's ports inside a world; this file has the clock, signals, random numbers and the time to compute.

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use worker::manifest::Manifest;
use worker::mutant::Mutant;
use worker::system::System;

use super::duties;
use super::machine::Machine;
use super::site::Site;
use super::world::World;

/// The system port of a machine.
#[derive(Debug, Clone)]
pub struct Inside {
    pub world: Rc<World>,
    pub machine: Rc<Machine>,
}

impl System for Inside {
    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms(self.world.now())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.world.now() - self.machine.started)
    }

    async fn sleep(&self, duration: Duration) {
        let span = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2);
        self.world.clock.sleep(span).await;
    }

    fn breaks(&self, mutant: Mutant) -> bool {
        self.world.breaks(mutant)
    }

    async fn stop_requested(&self) {
        if self.breaks(Mutant::DeafToNotice) {
            return pending().await;
        }
        // The world polls the worker when it tells it to stop.
        std::future::poll_fn(|_| match self.machine.stopping.get() {
            Some(_) => std::task::Poll::Ready(()),
            None => std::task::Poll::Pending,
        })
        .await;
    }

    fn stopping_for(&self) -> Option<Duration> {
        let since = self.machine.stopping.get().filter(|_| !self.breaks(Mutant::DeafToNotice))?;
        Some(Duration::from_micros(self.world.now() - since))
    }

    fn nonce(&self) -> u128 {
        self.world.nonce()
    }

    fn block_bytes(&self) -> u64 {
        self.world.params.oddities.block_bytes
    }

    fn keep(&self, manifest: Manifest) -> Arc<Manifest> {
        self.world.one_for_all(manifest)
    }

    fn pid(&self) -> u32 {
        self.machine.id
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        self.world.watch.broke(duties::computes(&self.world, &self.machine));
        let injected = self.world.inject(&self.machine, Site::Compute);
        if injected.killed {
            return pending().await;
        }
        let (began, steps) = (self.world.now(), self.machine.conduct.steps_done());
        let span = self.world.between(self.world.params.step_us);
        self.world.clock.sleep(span).await;
        let done = catch_unwind(AssertUnwindSafe(work));
        if self.machine.conduct.steps_done() > steps {
            self.world.watch.broke(duties::stepped(&self.world, &self.machine, began));
        }
        self.world.after(&self.machine, &injected).await;
        self.machine.moved_at.set(self.world.now());
        done.map_err(|_| "the toy panicked".to_owned())
    }
}
