//! Where workers run. All backends start the same worker; they differ in what a machine is, and in how a fault is
//! injected into one. What is injected when, and when a run is over, is decided in [`supervisor`].

use worker::events::Event;
use worker::failure::Failure;

use crate::schedule::Preemption;
use crate::story::Story;

#[cfg(feature = "kind")]
pub mod kind;
pub mod process;
pub mod supervisor;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Complete,
    /// A signal stopped the simulator.
    Interrupted,
    /// A worker ended otherwise than by preemption, or the run did not end in time.
    Failed {
        exit: u8,
        reason: String,
    },
}

/// What has just been added to a story; numbers are places in its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    Started(usize),
    /// An incarnation's last event.
    Said(usize),
    Injected(usize),
    /// It is known what effect a fault had.
    Judged(usize),
    /// What a fault took away is back.
    Back(usize),
    Ended(usize),
    /// What is known of a machine's own state: its number, and words for it.
    Machine(u32, &'static str),
}

/// Sees a run as it goes on.
pub type Observer<'a> = &'a mut dyn FnMut(&Story, Update);

/// What a backend reports. Incarnations are numbered in the order of their `Started`, from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    Started {
        machine: u32,
        name: String,
        pid: u32,
    },
    /// An incarnation wrote an event; each comes once, in order.
    Event(usize, Box<Event>),
    Ended {
        life: usize,
        /// Exit code, or the signal's negative number; `None` where nobody saw it.
        exit: Option<i32>,
        /// The last line on its standard error, where that is known.
        said: Option<String>,
    },
    /// How far the injection of a fault, by its number, has come.
    Fault(usize, Step),
    /// What is known of a machine's own state.
    Machine(u32, &'static str),
    /// No more workers will come: the run is complete, or why it was given up.
    Finished(Result<(), String>),
}

/// The course of a fault. A backend leaves out what its injection does not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The workers have begun to feel it: from now on it counts, not from when it was decided.
    Felt,
    /// The machine, the server or the network is gone. A machine's workers are gone with it.
    Gone,
    /// All that the machine's workers had said before has been reported.
    Heard,
    /// What was taken away is back.
    Back,
}

/// Machines on which workers run, and which come back by themselves: what a cloud is to the run.
pub(crate) trait Backend {
    /// Starts a worker on every machine.
    async fn start(&mut self) -> Result<(), Failure>;

    /// Begins to inject a fault; its [`Step`]s are reported under this number. It does not wait. Faults that overlap
    /// concern different machines, or a machine and a server.
    fn inject(&mut self, fault: usize, preemption: Preemption, machine: u32);

    /// Waits for what is to be reported next. Nothing is lost where the wait is given up.
    async fn news(&mut self) -> Result<News, Failure>;

    /// A worker has finished the run: no machine is replaced any more.
    fn over(&mut self);

    /// Names of the run's public files as they are now.
    async fn public_names(&mut self) -> Result<Vec<String>, Failure>;

    /// Ends every worker that is still there, and returns what was heard of them until then.
    async fn end(&mut self) -> Vec<News>;
}
