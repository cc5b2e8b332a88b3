//! Where workers run. All backends start the same worker; they differ in what a machine is.

use crate::story::Story;

#[cfg(feature = "kind")]
pub mod kind;
pub mod process;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Complete,
    /// The simulator was told to stop.
    Interrupted,
    /// A worker ended otherwise than by preemption, or the run did not end in time.
    Failed {
        exit: u8,
        reason: String,
    },
}

/// What has just been added to a story; numbers are places in its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    Started(usize),
    /// An incarnation's last event.
    Said(usize),
    Struck(usize),
    /// It is known what a strike came to.
    Came(usize),
    /// What was struck is back.
    Back(usize),
    Ended(usize),
    /// What is known of a machine's own state: its number, and words for it.
    Machine(u32, &'static str),
}

/// Who watches while a run goes on.
pub type Observer<'a> = &'a mut dyn FnMut(&Story, Beat);
