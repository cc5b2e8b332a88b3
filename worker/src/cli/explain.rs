//! `worker explain`: what an exit code or a message means, and what to do. The texts lie in one file, from which
//! `docs/errors.md` is made too.

use clap::Args;

use super::{Failure, print};
use crate::contract::Exit;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// An exit code (5) or the name of one or of a message (volume, no-space); without one, the list of them
    #[arg(value_name = "CODE", conflicts_with = "markdown")]
    code: Option<String>,
    /// All texts as a page in Markdown: docs/errors.md.
    #[arg(long)]
    markdown: bool,
}

/// All texts, each under a heading of its code, where it has one, and its name.
const TEXTS: &str = include_str!("errors.md");
const HEADING: &str = "## ";

/// What a code or a message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// The exit code, where it is one.
    code: Option<u8>,
    name: &'static str,
    text: &'static str,
}

fn entries() -> impl Iterator<Item = Entry> {
    let parts = TEXTS.split(HEADING).filter(|part| !part.is_empty());
    parts.filter_map(|part| {
        let (heading, text) = part.split_once('\n')?;
        let (code, name) = match heading.split_once(' ') {
            Some((code, name)) => (code.parse().ok(), name),
            None => (None, heading),
        };
        Some(Entry { code, name, text: text.trim() })
    })
}

impl Entry {
    fn heading(self) -> String {
        self.code.map_or_else(|| self.name.to_owned(), |code| format!("{code} {}", self.name))
    }

    /// The first sentence.
    fn gist(self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.')
    }
}

pub(crate) fn explain(args: &ExplainArgs) -> Result<Exit, Failure> {
    let text = match &args.code {
        _ if args.markdown => page(),
        None => list(),
        Some(code) => {
            let entry = entries().find(|entry| {
                entry.name == code.to_lowercase()
                    || entry.code.is_some_and(|known| known.to_string() == *code)
            });
            let entry = entry.ok_or_else(|| {
                let failure =
                    Failure::new(Exit::Usage, format!("explain `{}`", code.escape_debug()), "no such code");
                failure.hint("`worker explain` lists them")
            })?;
            format!("{}\n\n{}\n", entry.heading(), plain(entry.text))
        }
    };
    print(&text)?;
    Ok(Exit::Finished)
}

/// Without the marks of Markdown that a terminal does not show.
fn plain(text: &str) -> String {
    text.replace("**", "")
}

fn list() -> String {
    let line = |entry: Entry| {
        let code = entry.code.map_or_else(String::new, |code| code.to_string());
        format!("{code:>4}  {:<14} {}\n", entry.name, shortened(entry.gist()))
    };
    entries().map(line).collect::<String>() + "\nworker explain CODE says more\n"
}

/// So much of a text as fits beside code and name.
fn shortened(text: &str) -> String {
    const CHARS: usize = 58;
    if text.chars().count() <= CHARS {
        text.to_owned()
    } else {
        text.chars().take(CHARS - 1).collect::<String>() + "…"
    }
}

fn page() -> String {
    let mut page = "# Errors and exit codes\n\n\
        Made from `worker/src/cli/errors.md` by `worker explain --markdown`; `worker explain CODE` shows one of them. Every program says\n\
        what it tried, on what, why it failed, and a hint, on standard error, and ends with one of these codes.\n\n"
        .to_owned();
    for entry in entries() {
        page += &format!("## {}\n\n{}\n\n", entry.heading(), entry.text);
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_exit_code_has_a_text_and_no_two_share_a_name() {
        for exit in Exit::ALL {
            assert!(entries().any(|entry| entry.code == Some(exit.code())), "{exit:?} has no text");
        }
        let names: BTreeSet<&str> = entries().map(|entry| entry.name).collect();
        assert_eq!(names.len(), entries().count());
        for entry in entries() {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(entry.name.chars().all(plain), "`{}` is no name", entry.name);
            assert!(entry.text.contains("**Do:**"), "{} does not say what to do", entry.name);
            assert!(shortened(entry.gist()).chars().count() > 8, "{} has no gist", entry.name);
        }
    }

    #[test]
    fn the_page_of_the_documents_is_made_from_the_texts() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let held = std::fs::read_to_string(path).unwrap();
        assert!(held == page(), "make it again: worker explain --markdown > docs/errors.md");
    }
}
