//! Virtual time: nothing passes but what timers ask for, in one order.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Microseconds since the world began.
pub type Micros = u64;

pub const fn ms(milliseconds: u64) -> Micros {
    milliseconds * 1000
}

/// What is woken at a time: a machine's incarnation, or something that the world does itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    Machine(u32),
    Event(u32),
}

/// A clock that jumps from timer to timer. Equal times go in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct Clock {
    now: Cell<Micros>,
    asked: Cell<u64>,
    timers: RefCell<BinaryHeap<Reverse<(Micros, u64, Wake)>>>,
    /// Whom timers are for that are asked for now.
    running: Cell<Option<Wake>>,
}

impl Clock {
    pub fn now(&self) -> Micros {
        self.now.get()
    }

    /// Jumps to the next timer.
    pub fn advance(&self) -> Option<Wake> {
        let Reverse((at, _, wake)) = self.timers.borrow_mut().pop()?;
        self.now.set(at.max(self.now.get()));
        Some(wake)
    }

    /// Timers that are asked for from now on are for `wake`.
    pub fn run_as(&self, wake: Wake) {
        self.running.set(Some(wake));
    }

    pub fn wake_at(&self, at: Micros, wake: Wake) {
        self.asked.set(self.asked.get() + 1);
        self.timers.borrow_mut().push(Reverse((at, self.asked.get(), wake)));
    }

    pub fn sleep_until(self: &Rc<Self>, at: Micros) -> Sleep {
        Sleep { clock: self.clone(), at, armed: false }
    }

    pub fn sleep(self: &Rc<Self>, span: Micros) -> Sleep {
        self.sleep_until(self.now() + span)
    }
}

/// Resolves at a time.
#[derive(Debug)]
pub struct Sleep {
    clock: Rc<Clock>,
    at: Micros,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.clock.now() >= self.at {
            return Poll::Ready(());
        }
        if !self.armed {
            self.armed = true;
            if let Some(wake) = self.clock.running.get() {
                self.clock.wake_at(self.at, wake);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_by_time_then_by_order_of_asking() {
        let clock = Clock::default();
        for (at, wake) in [(5, 1), (3, 2), (5, 3), (3, 4)] {
            clock.wake_at(at, Wake::Machine(wake));
        }
        let fired: Vec<_> = std::iter::from_fn(|| clock.advance().map(|wake| (clock.now(), wake))).collect();
        assert_eq!(fired, [(3, 2), (3, 4), (5, 1), (5, 3)].map(|(at, wake)| (at, Wake::Machine(wake))));
    }
}
