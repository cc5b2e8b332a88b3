//! Reading a dataset's bytes into transactions: Parquet, CSV, and the tutorial's pickles.

/// One dataset's transactions as columns of equal length, sorted by (time, id).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transactions {
    pub id: Vec<i64>,
    /// Seconds since 1970-01-01 00:00 UTC.
    pub time: Vec<i64>,
    pub customer: Vec<i64>,
    pub terminal: Vec<i64>,
    /// Amount in cents.
    pub cents: Vec<i64>,
    pub fraud: Vec<bool>,
    /// Which kind of fraud (0 for none), where the data names it. Never a feature.
    pub scenario: Option<Vec<u8>>,
}
