//! Why a program gives up, for the person who reads it. The three programs say it in the same way.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::contract::Exit;
use crate::explained::{self, Code};

/// The exit code after Ctrl-C, SIGTERM or SIGHUP of a program that is no worker: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: u8 = 130;
/// The exit code of a run that was stopped because its time or money was over, as timeout(1) has it.
pub const LATE: u8 = 124;

/// How the hint is marked, on a line of its own.
const HINT: &str = "hint: ";

/// A failure that ends a command: what was tried, why it failed, what to do next.
///
/// ```
/// use worker::contract::Exit;
/// use worker::failure::Failure;
///
/// let failure = Failure::new(Exit::Volume, "open the volume /mnt", "it is no folder").hint("mount it first");
/// assert_eq!(failure.to_string(), "failed to open the volume /mnt: it is no folder\nhint: mount it first");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The program's exit code.
    pub exit: u8,
    /// What was tried, on what, as the rest of "failed to …". None: the reason says it.
    pub doing: Option<String>,
    /// Why it failed.
    pub why: String,
    /// What to do next, if anything is known.
    pub hint: Option<String>,
    /// The page about it, where it is not the one that exit code and reason lead to.
    pub page: Option<Code>,
}

impl Failure {
    /// `doing` is the rest of "failed to …". The reason may end with a line `hint: …`.
    pub fn new(exit: Exit, doing: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { doing: Some(doing.into()), ..Self::of(exit, why) }
    }

    /// A reason that says itself what was tried. It may end with a line `hint: …`.
    pub fn of(exit: Exit, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        let (why, hint) = match reason.split_once(&format!("\n{HINT}")) {
            Some((why, hint)) => (why.to_owned(), Some(hint.to_owned())),
            None => (reason, None),
        };
        Self { exit: exit.code(), doing: None, why, hint, page: None }
    }

    /// Makes a failure of an error: `open(path).map_err(Failure::when(Exit::Volume, "open it"))`.
    pub fn when<E: fmt::Display>(exit: Exit, doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        move |why| Self::new(exit, doing, why)
    }

    /// The same with what to do next.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with something more to do next.
    pub fn also(self, more: &str) -> Self {
        let hint = self.hint.as_ref().map_or_else(|| more.to_owned(), |hint| format!("{hint}; {more}"));
        self.hint(hint)
    }

    /// The same with the page about it.
    pub fn page(self, page: Code) -> Self {
        Self { page: Some(page), ..self }
    }

    /// The code by which `explain` says more.
    pub fn code(&self) -> Option<Code> {
        self.page.or_else(|| explained::code_of(self.exit, &self.to_string()))
    }

    /// All that a person is shown: `error[B005]: …`, and a hint; where nothing better is known, to read on.
    pub fn shown(&self) -> String {
        let Some(code) = self.code() else { return format!("error: {self}") };
        let shown = format!("error[{code}]: {self}");
        match self.hint {
            Some(_) => shown,
            None => format!("{shown}\n{HINT}the command `explain {code}` says what to do"),
        }
    }

    /// Writes it to standard error, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        // Where the terminal is gone there is nobody to tell.
        let _ = writeln!(io::stderr(), "{}", self.shown());
        ExitCode::from(self.exit)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(doing) = &self.doing {
            write!(f, "failed to {doing}: ")?;
        }
        f.write_str(&self.why)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n{HINT}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_shown_as_it_came_and_its_hint_is_known() {
        let reason = "no datasets: run 1 has not begun\nhint: push some\nor list them";
        let failure = Failure::of(Exit::NoDatasets, reason);
        assert_eq!(failure.to_string(), reason);
        assert_eq!(failure.hint.as_deref(), Some("push some\nor list them"));
        assert_eq!((failure.exit, failure.why.as_str()), (3, "no datasets: run 1 has not begun"));
    }

    #[test]
    fn an_error_without_a_hint_leads_to_its_page() {
        let failure = Failure::new(Exit::Queue, "open the queue", "it is away");
        let shown = failure.shown();
        assert_eq!(
            shown,
            "error[B006]: failed to open the queue: it is away\nhint: the command `explain B006` says what to do"
        );
        let shown = failure.hint("start it").shown();
        assert_eq!(shown, "error[B006]: failed to open the queue: it is away\nhint: start it");
    }

    #[test]
    fn an_error_becomes_the_reason() {
        let failed: Result<u8, _> = "x".parse::<u8>().map_err(Failure::when(Exit::Usage, "read --seed x"));
        assert_eq!(failed.unwrap_err().to_string(), "failed to read --seed x: invalid digit found in string");
    }
}
