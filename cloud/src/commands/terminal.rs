//! What a command shows, and asks.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};

use crate::error::Result;
use crate::gke::deploy::{Prompt, STAYS};

const THEN_DESTROY: &str =
    "\nafterwards everything of this deployment is destroyed, with all files on its volume (--then-destroy)";

/// Writes a line to standard output. A reader that went away (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<()> {
    Ok(worker::cli::print(&format!("{text}\n"))?)
}

/// Shows what is being done, on standard error, each line once.
#[derive(Debug, Default)]
pub(super) struct Teller {
    printed: BTreeSet<String>,
}

impl Teller {
    pub(super) fn tell(&mut self, line: &str) {
        if self.printed.insert(line.to_owned()) {
            eprintln!("{line}");
        }
    }
}

/// What is shown before its question is asked.
pub(super) trait Question {
    const ASKS: &str;
    fn text(&self) -> String;
}

/// The person at the terminal.
pub(super) struct Terminal {
    /// Everything is agreed to (--yes).
    yes: bool,
    /// What is made is destroyed again afterwards: to agree to the plan is to agree to that.
    then_destroy: bool,
    /// Something was agreed to, and may have been begun.
    agreed: bool,
    teller: Teller,
}

impl Terminal {
    pub(super) fn new(yes: bool) -> Self {
        Self { yes, then_destroy: false, agreed: false, teller: Teller::default() }
    }

    /// The same where what is made is destroyed again afterwards.
    pub(super) fn then_destroying(self) -> Self {
        Self { then_destroy: true, ..self }
    }

    pub(super) fn agreed(&self) -> bool {
        self.agreed
    }
}

impl<Q: Question> Prompt<Q> for Terminal {
    async fn confirm(&mut self, question: &Q) -> bool {
        let afterwards = if self.then_destroy { THEN_DESTROY } else { "" };
        eprintln!("{}{afterwards}\n", question.text());
        let agrees = agrees(Q::ASKS, self.yes).await;
        self.agreed |= agrees;
        agrees
    }

    fn show(&mut self, line: &str) {
        if !(self.then_destroy && line == STAYS) {
            self.teller.tell(line);
        }
    }
}

/// Asks on the terminal. Without a terminal, nothing is agreed to.
pub(super) async fn agrees(question: &str, yes: bool) -> bool {
    if yes {
        return true;
    }
    if !io::stdin().is_terminal() {
        eprintln!("{question} There is no terminal to ask on: --yes agrees beforehand.");
        return false;
    }
    eprint!("{question} [y/N] ");
    let read = || {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    };
    // On a thread of its own, so that Ctrl-C works.
    let answer = tokio::task::spawn_blocking(read).await;
    matches!(answer, Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes"))
}
