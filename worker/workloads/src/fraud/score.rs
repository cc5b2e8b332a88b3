//! A checkpoint applied to new transactions, outside of any run.

use crate::input::Transactions;

use super::chains::Chains;
use super::features;
use super::ftrl::probability;
use super::history::History;
use super::memory::REACH_S;
use super::model::Model;
use super::rows::Rows;
use super::stretch;

/// Scores a checkpoint's model: transactions that were made before are read first.
#[derive(Debug)]
pub struct Scorer {
    model: Chains,
    history: History,
    /// Time of the last row that was read.
    last: i64,
}

/// A transaction's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Log-odds of fraud.
    pub log_odds: f64,
    /// The same as a probability.
    pub probability: f64,
}

impl Scorer {
    /// # Errors
    /// What is wrong with the checkpoint's bytes.
    pub fn new(checkpoint: &[u8]) -> Result<Self, String> {
        let model = Model::decode(checkpoint)?.chains;
        Ok(Self { model, history: History::default(), last: i64::MIN })
    }

    /// Reads a dataset that came before, oldest first. Only the last 44 days matter.
    ///
    /// # Errors
    /// Transactions that are not after all those read before.
    pub fn remember(&mut self, path: &str, read: Transactions) -> Result<(), String> {
        let rows = self.rows(path, read)?;
        // The dataset to be scored may be the very next.
        self.history.push_all(&rows, rows.time[0]);
        Ok(())
    }

    /// Scores a dataset's transactions, in their order; they are then remembered.
    ///
    /// # Errors
    /// As [`Self::remember`].
    pub fn score(&mut self, path: &str, read: Transactions) -> Result<Vec<Score>, String> {
        let rows = self.rows(path, read)?;
        let set = self.model.set();
        let mut bins = vec![0; rows.len() * set.width()];
        let mut row = 0;
        while row < rows.len() {
            let stretch = stretch::of_day(&rows, row, usize::MAX);
            let bins = &mut bins[row * set.width()..];
            row = stretch.end;
            features::bins_of_rows(&mut self.history, &rows, stretch, set, bins);
        }
        let score = |row: &[u8]| {
            let log_odds = self.model.score(row);
            Score { log_odds, probability: probability(log_odds) }
        };
        Ok(bins.chunks_exact(set.width()).map(score).collect())
    }

    /// Time from which on transactions matter to a dataset that begins at `first`.
    pub fn reach(first: i64) -> i64 {
        first - REACH_S
    }

    fn rows(&mut self, path: &str, read: Transactions) -> Result<Rows, String> {
        let rows = Rows::from_transactions(path, read);
        // There is a row: of a dataset without one there are no transactions.
        let (first, last) = (rows.time[0], rows.time[rows.len() - 1]);
        if first <= self.last {
            return Err("its transactions are not all after those of the dataset before".to_owned());
        }
        self.last = last;
        Ok(rows)
    }
}
