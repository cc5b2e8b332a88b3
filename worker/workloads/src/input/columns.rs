//! Columns under other names than the Handbook's.

use std::collections::BTreeMap;

use super::table::{AMOUNT, CUSTOMER, FRAUD, ID, SCENARIO, TERMINAL, TIME, is_named};
use super::values::Ids;

/// Short names of the columns that are read, for command lines.
const SHORT: [(&str, &str); 7] = [
    ("id", ID),
    ("time", TIME),
    ("customer", CUSTOMER),
    ("terminal", TERMINAL),
    ("amount", AMOUNT),
    ("fraud", FRAUD),
    ("scenario", SCENARIO),
];

/// Which of a file's columns is read as each of the Handbook's. A column that is not mapped is found by its own name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// The file's name, by the Handbook's.
    theirs: BTreeMap<&'static str, String>,
    pub(super) ids: Ids,
}

impl Columns {
    /// Reads `time=created_at,customer=user_id`: short names, or the Handbook's own.
    ///
    /// # Errors
    /// Names the part that maps nothing, an unknown column, or one twice.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut columns = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (ours, theirs) = part
                .split_once('=')
                .map(|(ours, theirs)| (ours.trim(), theirs.trim()))
                .filter(|(_, theirs)| !theirs.is_empty())
                .ok_or_else(|| format!("`{part}`: write COLUMN=YOURS, as time=created_at"))?;
            let known = SHORT.into_iter().find(|(short, name)| ours == *short || is_named(ours, name));
            let Some((_, name)) = known else {
                let shorts = SHORT.map(|(short, _)| short).join(", ");
                return Err(format!("there is no column `{ours}`: those read are {shorts}"));
            };
            if columns.theirs.values().any(|taken| taken == theirs) {
                return Err(format!("`{theirs}` is given for two columns"));
            }
            if columns.theirs.insert(name, theirs.to_owned()).is_some() {
                return Err(format!("`{ours}` is given twice"));
            }
        }
        Ok(columns)
    }

    /// The same with ids that may be any text.
    #[must_use]
    pub fn with_text_ids(self, text_ids: bool) -> Self {
        Self { ids: if text_ids { Ids::Texts } else { Ids::Integers }, ..self }
    }

    pub fn has_text_ids(&self) -> bool {
        self.ids == Ids::Texts
    }

    /// As [`Columns::parse`] reads it, always the same for the same mapping.
    pub fn text(&self) -> String {
        let parts: Vec<String> =
            self.theirs.iter().map(|(ours, theirs)| format!("{ours}={theirs}")).collect();
        parts.join(",")
    }

    pub fn is_empty(&self) -> bool {
        self.theirs.is_empty()
    }

    /// A file's names as the Handbook would have them. One of the Handbook's names that is mapped to another column
    /// is none of them any more.
    pub(super) fn rename(&self, names: Vec<String>) -> Vec<String> {
        names.into_iter().map(|name| self.rename_one(name)).collect()
    }

    fn rename_one(&self, name: String) -> String {
        let trimmed = name.trim();
        if let Some((ours, _)) = self.theirs.iter().find(|(_, theirs)| *theirs == trimmed) {
            return (*ours).to_owned();
        }
        match self.theirs.keys().any(|ours| is_named(&name, ours)) {
            true => format!("{name} (not read)"),
            false => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_reads_back_and_renames() {
        let columns = Columns::parse("customer=user, TX_DATETIME=created_at,amount=CUSTOMER_ID").unwrap();
        assert_eq!(columns.text(), "CUSTOMER_ID=user,TX_AMOUNT=CUSTOMER_ID,TX_DATETIME=created_at");
        assert_eq!(Columns::parse(&columns.text()).unwrap(), columns);
        let names = ["user", " created_at ", "CUSTOMER_ID", "tx_amount", "TERMINAL_ID"].map(str::to_owned);
        let renamed = ["CUSTOMER_ID", "TX_DATETIME", "TX_AMOUNT", "tx_amount (not read)", "TERMINAL_ID"];
        assert_eq!(columns.rename(names.to_vec()), renamed);
        assert_eq!(Columns::default().rename(names.to_vec()), names);
    }

    #[test]
    fn what_maps_nothing_is_refused() {
        for (text, why) in [
            ("time", "write COLUMN=YOURS"),
            ("time=", "write COLUMN=YOURS"),
            ("price=total", "there is no column `price`: those read are id, time"),
            ("time=a,time=b", "given twice"),
            ("time=a,customer=a", "given for two"),
        ] {
            let refused = Columns::parse(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
