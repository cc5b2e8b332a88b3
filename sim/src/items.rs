//! What the simulator wants to know of an item by its name alone.

use worker::events::What;
use worker::item::Name;

/// The step by which a worker begins with a dataset: what a preemption "at the n-th dataset" waits for.
const FIRST: &str = "prepare";

/// The dataset that an item begins with.
pub fn first_of(item: Name) -> Option<u32> {
    item.index().filter(|_| item.step() == FIRST)
}

/// Whether an event says that a worker begins with a dataset.
pub fn begins(what: &What) -> bool {
    match what {
        What::Claimed { item, .. } => first_of(*item).is_some(),
        What::Began { .. } => true,
        _ => false,
    }
}
