//! `explain`, of every program: what an exit code or a message means, and what to do. The texts lie in one file, from which
//! `docs/errors.md` is made too.

use clap::Args;

use super::{Failure, print};
use crate::contract::Exit;
use crate::explained::{Code, Page, pages};

#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// A code as errors show it (B005), an exit code (5), or the name of either (volume, no-space); without one, the list
    #[arg(value_name = "CODE", conflicts_with = "markdown")]
    code: Option<String>,
    /// All texts as a page in Markdown: docs/errors.md.
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn explain(args: &ExplainArgs, program: &str) -> Result<(), Failure> {
    let text = match &args.code {
        _ if args.markdown => document(),
        None => list(program),
        Some(code) => {
            let asked: Option<Code> = code.parse().ok();
            let page = pages().find(|page| page.name == code.to_lowercase() || asked == Some(page.code));
            let page = page.ok_or_else(|| {
                let failure =
                    Failure::new(Exit::Usage, format!("explain `{}`", code.escape_debug()), "no such code");
                failure.hint(format!("`{program} explain` lists them"))
            })?;
            format!("{}\n\n{}\n", page.heading(), plain(page.text))
        }
    };
    print(&text)
}

/// Without the marks of Markdown that a terminal does not show.
fn plain(text: &str) -> String {
    text.replace("**", "")
}

fn list(program: &str) -> String {
    let line = |page: Page| format!("{}  {:<14} {}\n", page.code, page.name, shortened(page.gist()));
    let lines: String = pages().map(line).collect();
    format!("{lines}\n{program} explain CODE says more\n")
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

fn document() -> String {
    let mut page = "# Errors and exit codes\n\n\
        Made from `worker/src/cli/errors.md` by `worker explain --markdown`; `worker explain CODE` shows one of them, and so do\n\
        `sim explain` and `cloud explain`. Every program says what it tried, on what, why it failed, and a hint, on standard error, and ends\n\
        with an exit code. `error[B005]` names the page about it; B005 is that of exit code 5. In a log the field `explain` does.\n\n"
        .to_owned();
    for one in pages() {
        page += &format!("## {}\n\n{}\n\n", one.heading(), one.text);
    }
    page.truncate(page.trim_end().len());
    page + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_gist() {
        for page in pages() {
            assert!(shortened(page.gist()).chars().count() > 8, "{} has no gist", page.name);
        }
    }

    #[test]
    fn the_page_of_the_documents_is_made_from_the_texts() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
        let held = std::fs::read_to_string(path).unwrap();
        assert!(held == document(), "make it again: worker explain --markdown > docs/errors.md");
    }
}
