//! The order of a run's datasets: by the period that a workload reads from their paths, then by path.

use std::collections::BTreeMap;

use crate::manifest::{Dataset, Role};

/// What a path says of when its data is from: a text whose order is time's, and what follows it in the name, such as
/// an hour.
pub type Period<'p> = (String, &'p str);

/// Oldest first: by period, those without one last; within a period the tests after what they are to
/// test, then by what follows the period in the name; then by path. Numbers are compared as numbers: `part-2` comes
/// before `part-10`.
pub fn oldest_first(paths: &mut [String], period: impl Fn(&str) -> Option<Period<'_>>) {
    paths.sort_by_cached_key(|path| place(path, period(path)));
}

/// A key by which paths are oldest first.
pub(crate) fn place(path: &str, period: Option<Period<'_>>) -> impl Ord + use<> {
    let (period, rest) = period.map_or((None, ""), |(period, rest)| (Some(period), rest));
    (period.is_none(), period, Role::of(path) == Role::Test, natural(rest), natural(path), path.to_owned())
}

/// A key by which texts are in order with the numbers in them in order: each number after the count of its digits.
fn natural(text: &str) -> Vec<u8> {
    let mut key = Vec::new();
    let mut rest = text.as_bytes();
    while let [byte, others @ ..] = rest {
        if !byte.is_ascii_digit() {
            key.push(*byte);
            rest = others;
            continue;
        }
        let (number, others) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
        let number = &number[number.iter().take_while(|digit| **digit == b'0').count()..];
        key.push(b'0');
        key.extend((number.len() as u64).to_be_bytes());
        key.extend(number);
        rest = others;
    }
    key
}

/// The datasets that a run holds, to decide what may follow.
#[derive(Debug, Default)]
pub struct DatasetOrder {
    by_path: BTreeMap<String, usize>,
    /// The newest period of train and history, and a path of it.
    newest: Option<(String, String)>,
}

impl DatasetOrder {
    /// The order after these datasets.
    pub fn new(datasets: &[Dataset], period: impl Fn(&str) -> Option<Period<'_>>) -> Self {
        let mut order = Self::default();
        for dataset in datasets {
            order.insert(&dataset.path, period(&dataset.path));
        }
        order
    }

    /// Place of a path among those held.
    pub fn position(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// Adds a dataset after the others.
    pub fn insert(&mut self, path: &str, period: Option<Period<'_>>) {
        self.by_path.insert(path.to_owned(), self.by_path.len());
        if Role::of(path) != Role::Test {
            self.newest = self.newest.take().max(period.map(|(period, _)| (period, path.to_owned())));
        }
    }

    /// Whether `path` may follow in a workload that needs time's order: any number of files of a period may, unless
    /// one of a later period was taken in. Tests come with chapter 0, which is in order.
    ///
    /// # Errors
    /// With the reason, where its period is older than the newest.
    pub fn follows(&self, path: &str, period: Option<Period<'_>>) -> Result<(), String> {
        match (period, &self.newest) {
            (Some((period, _)), Some((newest, other)))
                if *newest > period && Role::of(path) != Role::Test =>
            {
                Err(format!("it is older than {other}, which was taken in before"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::natural;

    proptest! {
        #[test]
        fn numbers_are_in_order(one: u64, other: u64, rest in "[a-z0-9]?") {
            let key = |number: u64| natural(&format!("part-{number}.{rest}"));
            prop_assert_eq!(key(one).cmp(&key(other)), one.cmp(&other));
        }
    }
}
