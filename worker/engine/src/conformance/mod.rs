//! What every arm of a port does, as public suites: another queue or store calls one macro in its tests.
//! The suites find wrong answers, not failures: those are the simulator's.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

#[allow(missing_docs, reason = "the bodies are sentences")]
pub mod queue;
#[allow(missing_docs, reason = "the bodies are sentences")]
pub mod store;

/// Polls futures beside each other, on this thread, until all are ready.
pub async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut ready: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(move |context| {
        for (future, ready) in futures.iter_mut().zip(&mut ready) {
            if ready.is_none()
                && let Poll::Ready(output) = Pin::new(future).poll(context)
            {
                *ready = Some(output);
            }
        }
        if ready.iter().all(Option::is_some) {
            return Poll::Ready(ready.iter_mut().filter_map(Option::take).collect());
        }
        Poll::Pending
    })
    .await
}
