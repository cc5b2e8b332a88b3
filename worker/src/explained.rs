//! The pages of `worker explain` and docs/errors.md, by their codes, and which of them an error belongs to.

use std::fmt;
use std::str::FromStr;

use crate::contract::Exit;

/// All pages, each under a heading of its number and its name.
const TEXTS: &str = include_str!("cli/errors.md");
const HEADING: &str = "## ";
/// Numbers below are exit codes.
const FIRST: u16 = 256;

/// The code of a page: `B005` is that of exit code 5, `B303` that of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "B{:03}", self.0)
    }
}

impl FromStr for Code {
    type Err = std::num::ParseIntError;

    /// `B005` and `b5`; an exit code may stand alone.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix(['B', 'b']).unwrap_or(text).parse().map(Self)
    }
}

pub const NO_HARD_LINKS: Code = Code(301);
pub const CROSS_DEVICE: Code = Code(302);
pub const NO_SPACE: Code = Code(303);
pub const PERMISSION: Code = Code(304);
pub const STALE: Code = Code(305);
pub const QUEUE_AWAY: Code = Code(306);
pub const REJECTED: Code = Code(307);
pub const REFUSED: Code = Code(308);
pub const LEASE_LOST: Code = Code(309);
pub const STALLED: Code = Code(310);
pub const TORN: Code = Code(311);
pub const LOG_IN: Code = Code(321);
pub const RIGHTS: Code = Code(322);
pub const DIFFERS: Code = Code(323);
pub const AWAY: Code = Code(324);
pub const API_DISABLED: Code = Code(325);
pub const BILLING_OFF: Code = Code(326);
pub const POLICY: Code = Code(327);
pub const PROJECT: Code = Code(328);
pub const QUOTA_PROJECT: Code = Code(329);
pub const QUOTA: Code = Code(330);
pub const STOCK_OUT: Code = Code(331);
pub const PROXY: Code = Code(332);
pub const PLACE: Code = Code(333);
pub const NETWORK: Code = Code(334);
pub const NAME_TAKEN: Code = Code(335);
pub const KEPT: Code = Code(336);
pub const NO_PRICE: Code = Code(337);
pub const TOO_DEAR: Code = Code(338);
pub const GOOGLE_FAILED: Code = Code(339);
pub const STUCK: Code = Code(340);
pub const NOT_DELETED: Code = Code(341);
pub const MAY_HOLD_DATA: Code = Code(342);

/// Words of the operating system or of a hint in an error about files, and the page that they lead to.
const OF_FILES: [(&str, Code); 8] = [
    ("commits need hard links", NO_HARD_LINKS),
    ("Invalid cross-device link", CROSS_DEVICE),
    ("No space left on device", NO_SPACE),
    ("Disk quota exceeded", NO_SPACE),
    ("Permission denied", PERMISSION),
    ("Operation not permitted", PERMISSION),
    ("Read-only file system", PERMISSION),
    ("Stale file handle", STALE),
];

/// The page about an error that ends a program with `exit`: that of a message in it, or that of the exit code.
pub fn code_of(exit: u8, error: &str) -> Option<Code> {
    let is_about_files = [Exit::Volume, Exit::Input].iter().any(|of_files| of_files.code() == exit);
    let of_file = OF_FILES.iter().filter(|_| is_about_files).find(|(words, _)| error.contains(words));
    let of_exit = Code(u16::from(exit));
    of_file.map(|(_, code)| *code).or(page(of_exit).map(|page| page.code))
}

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) code: Code,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

pub(crate) fn pages() -> impl Iterator<Item = Page> {
    let parts = TEXTS.split(HEADING).filter(|part| !part.is_empty());
    parts.filter_map(|part| {
        let (heading, text) = part.split_once('\n')?;
        let (number, name) = heading.split_once(' ')?;
        Some(Page { code: number.parse().ok()?, name, text: text.trim() })
    })
}

fn page(code: Code) -> Option<Page> {
    pages().find(|page| page.code == code)
}

impl Page {
    pub(crate) fn heading(self) -> String {
        match self.code {
            Code(number) if number < FIRST => format!("{} {} (exit code {number})", self.code, self.name),
            code => format!("{code} {}", self.name),
        }
    }

    /// The first sentence.
    pub(crate) fn gist(self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.')
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::failure::{INTERRUPTED, LATE};

    #[test]
    fn every_exit_code_has_a_page_and_every_page_a_code_and_a_name_of_its_own() {
        let of_kernel = 128 + 9;
        let others = [LATE, INTERRUPTED, of_kernel];
        let exits: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).chain(others).collect();
        let of_exits: Vec<u16> = pages().map(|page| page.code.0).filter(|number| *number < FIRST).collect();
        assert_eq!(of_exits, exits.iter().map(|exit| u16::from(*exit)).collect::<Vec<_>>());
        assert_eq!(pages().count(), TEXTS.matches(HEADING).count(), "a heading has no number");
        let codes: BTreeSet<Code> = pages().map(|page| page.code).collect();
        let names: BTreeSet<&str> = pages().map(|page| page.name).collect();
        assert_eq!((codes.len(), names.len()), (pages().count(), pages().count()));
        for page in pages() {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(page.name.chars().all(plain), "`{}` is no name", page.name);
            assert!(page.text.contains("**Do:**"), "{} does not say what to do", page.name);
        }
    }

    fn sources(folder: &Path) -> String {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: std::path::PathBuf| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(extension) if extension == "rs" => fs::read_to_string(&path).unwrap(),
            _ => String::new(),
        };
        entries.map(text).collect()
    }

    /// The constants of this file are the codes of messages: each has a page, each page has one, and each is used.
    #[test]
    fn every_code_of_a_message_has_a_page_and_is_used() {
        let here = include_str!("explained.rs");
        let constants = here.lines().filter_map(|line| {
            let (name, number) = line.strip_prefix("pub const ")?.split_once(": Code = Code(")?;
            Some((name, Code(number.trim_end_matches(");").parse().ok()?)))
        });
        let constants: Vec<(&str, Code)> = constants.collect();
        let known: BTreeSet<Code> = constants.iter().map(|(_, code)| *code).collect();
        let messages: BTreeSet<Code> = pages().map(|page| page.code).filter(|code| code.0 >= FIRST).collect();
        assert_eq!(known, messages);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = ["src", "../cloud/src"].map(|folder| sources(&root.join(folder))).join("\n");
        for (name, code) in constants {
            let in_table = here.contains(&format!(", {name}),"));
            assert!(
                in_table || sources.contains(&format!("explained::{name}")),
                "{code} ({name}) is not used"
            );
        }
    }

    #[test]
    fn an_error_leads_to_the_page_that_says_most() {
        let code = |exit: Exit, error: &str| code_of(exit.code(), error).map(|code| code.to_string());
        let table = [
            (Exit::Volume, "create runs: Permission denied (os error 13)", Some("B304")),
            (Exit::Input, "No space left on device (os error 28)", Some("B303")),
            (Exit::Volume, "it is no folder", Some("B005")),
            (Exit::Queue, "Permission denied", Some("B006")),
            (Exit::Failed, "write page.html: Permission denied", Some("B001")),
            (Exit::Usage, "no such code", Some("B002")),
        ];
        for (exit, error, expected) in table {
            assert_eq!(code(exit, error).as_deref(), expected, "{exit:?} {error}");
        }
        for text in ["B005", "b5", "5"] {
            assert_eq!(text.parse::<Code>(), Ok(Code(5)));
        }
        assert!("volume".parse::<Code>().is_err());
    }
}
