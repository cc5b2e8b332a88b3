//! What goes wrong, and when.

use std::collections::BTreeMap;

use proptest::prelude::*;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 401.
    Unauthorized,
    /// 403, no right.
    Forbidden,
    /// 404, though it may well be there.
    NotFound,
    /// 409 (or Google's 400 for what is busy).
    Conflict,
    /// 429.
    TooMany,
    /// 500, with the request carried out or not.
    Internal { done: bool },
    /// 503.
    Unavailable { done: bool },
    /// A load balancer's page instead of JSON.
    BadGateway { done: bool },
    /// No answer within the client's limit.
    Slow { done: bool },
    /// The connection is cut.
    Cut { done: bool },
    /// Accepted, and the operation fails later.
    FailedOperation,
    /// Ctrl-C while the request is under way.
    Interrupt { done: bool },
}

impl Fault {
    /// Whether the request takes effect all the same.
    pub fn takes_effect(self) -> bool {
        match self {
            Self::Internal { done }
            | Self::Unavailable { done }
            | Self::BadGateway { done }
            | Self::Slow { done }
            | Self::Cut { done }
            | Self::Interrupt { done } => done,
            Self::FailedOperation => true,
            _ => false,
        }
    }

    /// Any fault.
    pub fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            1 => Just(Self::Unauthorized),
            1 => Just(Self::Forbidden),
            1 => Just(Self::NotFound),
            2 => Just(Self::Conflict),
            2 => Just(Self::TooMany),
            2 => any::<bool>().prop_map(|done| Self::Internal { done }),
            2 => any::<bool>().prop_map(|done| Self::Unavailable { done }),
            1 => any::<bool>().prop_map(|done| Self::BadGateway { done }),
            2 => any::<bool>().prop_map(|done| Self::Slow { done }),
            2 => any::<bool>().prop_map(|done| Self::Cut { done }),
            3 => Just(Self::FailedOperation),
            4 => any::<bool>().prop_map(|done| Self::Interrupt { done }),
        ]
    }
}

/// Faults by the number of the request, from 0. Finite: after the last, all goes well.
pub type Schedule = BTreeMap<usize, Fault>;

/// A canned answer, for showing what one particular refusal looks like.
#[derive(Clone, Debug)]
pub struct Rule {
    pub method: &'static str,
    /// Part of the path.
    pub path: &'static str,
    /// How many requests it answers.
    pub times: usize,
    pub status: u16,
    /// Google's JSON, or anything else.
    pub body: String,
}
