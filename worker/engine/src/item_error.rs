//! Why an item was not completed.

use crate::contract::Exit;
use crate::pipeline::Stage;
use crate::queue::QueueError;
use crate::store::{Kind, StoreError};

/// Why an item was not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemError {
    /// Told to stop, and the rest does not fit in the grace.
    Stop,
    /// The store failed: try again, for as long as it takes.
    Store(StoreError),
    /// The queue failed where its answer was needed.
    Queue(QueueError),
    /// Something that was committed is not to be seen from here yet.
    Absent(String),
    /// A commit, at this path, was damaged: it has to be recomputed first.
    Torn(Stage, u32, String),
    /// The work cannot be done yet: later, and no failure.
    NotReady(String),
    /// A dataset is missing or not the one of the manifest.
    Input(String),
    /// Neither a run nor datasets to begin one with are to be seen.
    NoDatasets(String),
    /// The workload failed, or panicked.
    Defect(String),
    /// The worker ends here: finished, or with no point in going on.
    End(Exit, String),
}

impl ItemError {
    /// What a failure to read a dataset means.
    pub fn with_dataset(error: StoreError) -> Self {
        match error.kind {
            Kind::NotFound => Self::Input(format!(
                "dataset {} is missing\nhint: copy it to the volume, or take its path out of the list",
                error.path
            )),
            Kind::Permission | Kind::NoFile => Self::Input(format!(
                "dataset {} cannot be read: {}\nhint: give a file that the workers' user may read, or take its \
                 path out of the list",
                error.path, error.detail
            )),
            _ => Self::Store(error),
        }
    }
}

impl From<StoreError> for ItemError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<QueueError> for ItemError {
    fn from(error: QueueError) -> Self {
        match error {
            // It lets us claim and not do the rest: waiting changes nothing.
            QueueError::Refused(why) => Self::End(Exit::Queue, why),
            QueueError::Away(_) => Self::Queue(error),
        }
    }
}

impl std::fmt::Display for ItemError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stop => f.write_str("told to stop"),
            Self::Store(error) => error.fmt(f),
            Self::Queue(error) => error.fmt(f),
            Self::Absent(path) => write!(f, "{path} cannot be seen yet"),
            Self::Torn(_, _, path) => write!(f, "{path} is torn"),
            Self::NotReady(detail) | Self::Input(detail) | Self::NoDatasets(detail) => f.write_str(detail),
            Self::Defect(message) => write!(f, "the workload failed: {message}"),
            Self::End(_, reason) => f.write_str(reason),
        }
    }
}
