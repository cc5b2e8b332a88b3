//! A thread beside the worker's own, for what may take long or wait long: calls to the volume, but for the short
//! ones where it is a local disk, and computing (rule 15).
//!
//! A worker does one such thing after another. Tokio's pool would give each to the other of two threads,
//! since the thread that answers is not yet idle when the next call comes; the scheduler wakes the other on
//! another core, behind another worker, and a batch takes a sixth longer. Here a thread is idle before
//! it answers, so that one is enough, and a call that hangs costs no more than its thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Idle threads that are kept; more of them end.
const IDLE_MAX: usize = 4;

/// Threads that wait for work, the last to become idle at the end.
#[derive(Debug, Clone, Default)]
struct Threads {
    idle: Arc<Mutex<Vec<Sender<Job>>>>,
}

static THREADS: LazyLock<Threads> = LazyLock::new(Threads::default);

/// Runs `work` on a thread beside this one.
///
/// # Errors
/// What `work` said when it panicked, or why there is no thread.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    THREADS.run(work).await
}

impl Threads {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
        let thread = self.take().map_err(|error| format!("failed to start a thread: {error}"))?;
        let (tell, answer) = oneshot::channel();
        let (threads, own) = (self.clone(), thread.clone());
        let job = move || {
            let result = catch_unwind(AssertUnwindSafe(work)).map_err(|payload| message(payload.as_ref()));
            threads.keep(own);
            // The caller may be gone.
            let _ = tell.send(result);
        };
        thread.send(Box::new(job)).map_err(|_| "the thread beside has ended".to_owned())?;
        answer.await.unwrap_or_else(|_| Err("the thread beside gave no answer".to_owned()))
    }

    fn take(&self) -> std::io::Result<Sender<Job>> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(idle);
        }
        let (sender, jobs) = channel::<Job>();
        thread::Builder::new().name("aside".to_owned()).spawn(move || jobs.iter().for_each(|job| job()))?;
        Ok(sender)
    }

    /// A thread ends with its last sender.
    fn keep(&self, thread: Sender<Job>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(thread);
        }
    }
}

/// What a panic said.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_call_after_another_is_the_work_of_one_thread() {
        let threads = Threads::default();
        let first = threads.run(|| thread::current().id()).await.unwrap();
        for _ in 0..1_000 {
            assert_eq!(threads.run(|| thread::current().id()).await.unwrap(), first);
        }
    }

    #[tokio::test]
    async fn a_call_that_hangs_keeps_nobody_waiting() {
        let threads = Threads::default();
        let (release, released) = channel::<()>();
        let mut hung = Box::pin(threads.run(move || released.recv().is_ok()));
        for _ in 0..10 {
            tokio::select! {
                biased;
                _ = &mut hung => panic!("it was not released"),
                answer = threads.run(|| 7) => assert_eq!(answer.unwrap(), 7),
            }
        }
        release.send(()).unwrap();
        assert!(hung.await.unwrap());
        assert!(threads.idle.lock().unwrap().len() <= 2);
    }

    #[tokio::test]
    async fn a_caller_that_stops_waiting_leaves_an_idle_thread_behind() {
        let threads = Threads::default();
        let (release, released) = channel::<()>();
        let mut hung = Box::pin(threads.run(move || released.recv().is_ok()));
        tokio::select! {
            biased;
            _ = &mut hung => panic!("it was not released"),
            answer = threads.run(|| ()) => answer.unwrap(),
        }
        drop(hung);
        release.send(()).unwrap();
        assert_eq!(threads.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_ends_no_thread() {
        let threads = Threads::default();
        let first = threads.run(|| thread::current().id()).await.unwrap();
        assert_eq!(threads.run(|| -> () { panic!("no more") }).await, Err("no more".to_owned()));
        assert_eq!(threads.run(|| thread::current().id()).await.unwrap(), first);
    }
}
