//! Why something failed: words for a person, and a kind where the program itself goes on by it.

use worker::contract::Exit;
use worker::explained::{self, Code};
use worker::failure::{Failure, INTERRUPTED, LATE};

/// What kind of failure it is, as far as the program decides by it. What a person should do is the hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another try may succeed: rate limits, server errors, time limits, cut connections.
    Transient,
    /// Something else is at work on the same resource.
    Busy,
    /// Already there: read it and compare.
    Exists,
    /// Not there.
    NotFound,
    /// The API is not enabled, or that it is enabled is not known everywhere yet.
    Disabled,
    /// No usable credentials, or a token that ran out.
    Credentials,
    /// The caller may not do this.
    Permission,
    /// What exists differs in a way that cannot be changed in place.
    Differs,
    /// The time or the money is over that it was given.
    Late,
    /// By Ctrl-C.
    Interrupted,
    /// Nothing to go on by.
    Other,
}

/// What an error means: to the program, and to the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub kind: Kind,
    /// What to do next. None: what is usual for the kind.
    pub hint: Option<String>,
    /// What `explain` has about it. None: what it has about the kind.
    pub page: Option<Code>,
}

impl From<Kind> for Cause {
    fn from(kind: Kind) -> Self {
        Self { kind, hint: None, page: None }
    }
}

/// A failure, as the rest of "failed to …". It reaches a person as a [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Error {
    /// What was tried, on what: "create cluster batch-aiml in us-central1".
    pub doing: String,
    /// Why it failed.
    pub why: String,
    /// What to do next.
    pub hint: Option<String>,
    pub kind: Kind,
    /// What `explain` has about it. None: what it has about the kind.
    pub page: Option<Code>,
}

/// A result with this module's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(doing: impl Into<String>, why: impl Into<String>, cause: impl Into<Cause>) -> Self {
        let Cause { kind, hint, page } = cause.into();
        Self { doing: doing.into(), why: why.into(), hint, kind, page }
    }

    /// A failure of no kind.
    pub fn other(doing: impl Into<String>, why: impl ToString) -> Self {
        Self::new(doing, why.to_string(), Kind::Other)
    }

    /// The same, with the next step.
    pub fn with_hint(doing: impl Into<String>, why: impl ToString, hint: impl Into<String>) -> Self {
        Self::new(doing, why.to_string(), Cause { hint: Some(hint.into()), ..Kind::Other.into() })
    }

    /// Fills in what to do next where the error does not say it: `usual` knows it for some kinds.
    pub fn or_hint(self, usual: impl FnOnce(Kind) -> Option<&'static str>) -> Self {
        let hint = self.hint.or_else(|| usual(self.kind).map(str::to_owned));
        Self { hint, ..self }
    }

    /// Whether another try may succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Transient | Kind::Busy)
    }

    /// Whether what was read is out of date: something was made since, or an API's being enabled is not known
    /// everywhere yet. Another look may help.
    pub fn is_stale(&self) -> bool {
        matches!(self.kind, Kind::Exists | Kind::Disabled)
    }
}

impl From<Failure> for Error {
    fn from(Failure { doing, why, hint, page, .. }: Failure) -> Self {
        Self { doing: doing.unwrap_or_else(|| "go on".to_owned()), why, hint, kind: Kind::Other, page }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let again = "the cluster or the network is in trouble; run the same command again in a while";
        let error = error.or_hint(|kind| (kind == Kind::Transient).then_some(again));
        let exit = match error.kind {
            Kind::Late => LATE,
            Kind::Interrupted => INTERRUPTED,
            _ => Exit::Failed.code(),
        };
        let failure = Self::new(Exit::Failed, error.doing, error.why);
        Self { exit, hint: error.hint.or(failure.hint), page: error.page.or(page(error.kind)), ..failure }
    }
}

/// What `worker explain` has about a kind.
fn page(kind: Kind) -> Option<Code> {
    Some(match kind {
        Kind::Credentials => explained::LOG_IN,
        Kind::Permission => explained::RIGHTS,
        Kind::Differs => explained::DIFFERS,
        Kind::Transient | Kind::Busy => explained::AWAY,
        _ => return None,
    })
}

/// The innermost reason; what is around it repeats "error sending request", "client error" and the like.
#[cfg(feature = "cluster")]
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

pub(crate) const PROXY_HINT: &str = "HTTPS_PROXY names it: give it a log-in, http://USER:PASSWORD@HOST:PORT, or name \
                                     what needs no proxy in NO_PROXY";

/// What it means that no connection was made: nothing answered, or a proxy wants a log-in.
#[cfg(feature = "cluster")]
pub(crate) fn unconnected(why: &str) -> Cause {
    let why = why.to_ascii_lowercase();
    let by_proxy = why.contains("proxy") && (why.contains("auth") || why.contains("407"));
    match by_proxy {
        true => Cause { kind: Kind::Other, hint: Some(PROXY_HINT.to_owned()), page: Some(explained::PROXY) },
        false => Kind::Transient.into(),
    }
}
