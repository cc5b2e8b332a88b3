//! How a command line says what a file's columns are.

use std::ffi::OsString;

use clap::Args;

use super::Columns;

/// A mapping of columns, and what may be an id.
#[derive(Debug, Clone, Default, Args)]
pub struct ColumnArgs {
    /// Columns of other names than TRANSACTION_ID, TX_DATETIME, CUSTOMER_ID, TERMINAL_ID, TX_AMOUNT, TX_FRAUD:
    /// id=, time=, customer=, terminal=, amount= or fraud=YOURS (repeatable); a run records it in its manifest.
    #[arg(long, env = "WORKER_MAP_COLUMNS", value_name = "COLUMN=YOURS", value_delimiter = ',')]
    map_columns: Vec<String>,
    /// Take any text as the id of a transaction, customer or terminal; a run records it in its manifest.
    #[arg(long, env = "WORKER_TEXT_IDS")]
    text_ids: bool,
}

impl ColumnArgs {
    /// The same as arguments of a command that takes them.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let columns = self.map_columns.iter().flat_map(|column| ["--map-columns", column]);
        let ids = self.text_ids.then_some("--text-ids");
        columns.chain(ids).map(OsString::from).collect()
    }

    /// # Errors
    /// As [`Columns::parse`], with the option's name.
    pub fn columns(&self) -> Result<Columns, String> {
        let columns = Columns::parse(&self.map_columns.join(","));
        let hint = "hint: --map-columns COLUMN=YOURS,…, as time=created_at; docs/data.md lists the columns";
        let columns = columns.map_err(|why| format!("failed to read --map-columns: {why}\n{hint}"));
        Ok(columns?.with_text_ids(self.text_ids))
    }
}
