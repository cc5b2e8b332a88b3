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

/// The parameter that maps a file's columns.
const COLUMNS: &str = "columns";
/// The parameter that says what may be an id: [`INTEGER`], or any [`TEXT`].
const IDS: &str = "ids";
const INTEGER: &str = "integer";
const TEXT: &str = "text";

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

    /// Parameters of a manifest, always the same for the same columns: the mapping as [`Columns::parse`] reads it, and
    /// the kind of ids, each where it is not the Handbook's.
    pub fn params(&self) -> BTreeMap<String, String> {
        let mut params = BTreeMap::new();
        if !self.theirs.is_empty() {
            let parts = self.theirs.iter().map(|(ours, theirs)| format!("{ours}={theirs}"));
            params.insert(COLUMNS.to_owned(), parts.collect::<Vec<_>>().join(","));
        }
        if self.ids == Ids::Texts {
            params.insert(IDS.to_owned(), TEXT.to_owned());
        }
        params
    }

    /// Takes its own out of a manifest's parameters.
    ///
    /// # Errors
    /// As [`Columns::parse`], or the kind of ids that is unknown.
    pub fn take(params: &mut BTreeMap<String, String>) -> Result<Self, String> {
        let columns = Self::parse(&params.remove(COLUMNS).unwrap_or_default())?;
        match params.remove(IDS).as_deref() {
            None | Some(INTEGER) => Ok(columns),
            Some(TEXT) => Ok(columns.with_text_ids(true)),
            Some(other) => Err(format!("parameter {IDS}={other}: use {INTEGER} or {TEXT}")),
        }
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
        let mut params = columns.params();
        assert_eq!(params[COLUMNS], "CUSTOMER_ID=user,TX_AMOUNT=CUSTOMER_ID,TX_DATETIME=created_at");
        params.insert("other".to_owned(), "stays".to_owned());
        assert_eq!(Columns::take(&mut params).unwrap(), columns);
        assert_eq!(params.into_keys().collect::<Vec<_>>(), ["other"]);
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
