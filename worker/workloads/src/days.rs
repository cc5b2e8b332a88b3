//! Days in the names of files: `2018-04-01.parquet`, `transactions.2018-04-01.csv`, `eu-2018-04-01T05.csv`.

use engine::order::{self, Period};
use engine::path::name_of;
use jiff::civil::Date;

/// The day in a file's name, where there is one.
pub fn day_of(path: &str) -> Option<Date> {
    dated(path).map(|(day, _)| day)
}

/// The day as a period, and what follows it in the name (`T05.csv`).
pub fn period(path: &str) -> Option<Period<'_>> {
    dated(path).map(|(day, rest)| (day.to_string(), rest))
}

/// Sorts paths as a run by days has them.
pub fn oldest_first(paths: &mut [String]) {
    order::oldest_first(paths, period);
}

fn dated(path: &str) -> Option<(Date, &str)> {
    let name = name_of(path);
    let day_at = |at: usize| Some((name.get(at..at + 10)?.parse().ok()?, name.get(at + 10..)?));
    (0..=name.len().checked_sub(10)?).find_map(day_at)
}

#[cfg(test)]
mod tests {
    use engine::order::DatasetOrder;

    use super::*;

    #[test]
    fn datasets_come_oldest_first_and_those_without_a_day_last() {
        let mut paths = ["z/test.pkl", "a/2018-04-02.pkl", "z/2018-04-01.pkl", "a/b.pkl"].map(String::from);
        oldest_first(&mut paths);
        assert_eq!(paths, ["z/2018-04-01.pkl", "a/2018-04-02.pkl", "a/b.pkl", "z/test.pkl"]);
    }

    #[test]
    fn tests_come_after_what_has_no_day_either_and_numbers_in_order() {
        let ordered = [
            "datasets/training/x.2018-04-02.csv",
            "datasets/testing/x.2018-04-02.csv",
            "datasets/training/2018-04-03.csv",
            "datasets/training/part-1.csv",
            "datasets/training/part-02.csv",
            "datasets/training/part-2.csv",
            "datasets/training/part-2b.csv",
            "datasets/training/part-10-2.csv.1",
            "datasets/training/part-10.csv",
            "datasets/training/part.csv",
            "datasets/testing/holdout.csv",
        ];
        let mut paths = ordered.map(String::from);
        paths.sort();
        oldest_first(&mut paths);
        assert_eq!(paths, ordered);
    }

    #[test]
    fn files_of_a_day_come_by_hour_then_by_path_and_its_tests_last() {
        let ordered = [
            "datasets/training/2018-03-31.csv",
            "datasets/training/2018-04-01T2.csv",
            "datasets/training/eu/2018-04-01T10.csv",
            "datasets/training/us/2018-04-01T10.csv",
            "datasets/training/eu/2018-04-01T11.csv",
            "datasets/testing/2018-04-01T00.csv",
            "datasets/training/eu-2018-04-02.csv",
            "datasets/training/us-2018-04-02.csv",
        ];
        let mut paths = ordered.map(String::from);
        paths.reverse();
        oldest_first(&mut paths);
        assert_eq!(paths, ordered);
    }

    #[test]
    fn files_of_the_newest_day_follow_and_older_ones_do_not() {
        let mut held = DatasetOrder::default();
        for path in [
            "datasets/training/eu-2018-04-02.csv",
            "datasets/testing/2018-04-09.csv",
            "datasets/training/a.csv",
        ] {
            assert_eq!(held.follows(path, period(path)), Ok(()));
            held.insert(path, period(path));
        }
        for path in ["us-2018-04-02.csv", "2018-04-02T05.csv", "2018-04-03.csv", "b.csv"] {
            assert_eq!(
                {
                    let path = format!("datasets/training/{path}");
                    held.follows(&path, period(&path))
                },
                Ok(()),
                "{path}"
            );
        }
        let reason = "it is older than datasets/training/eu-2018-04-02.csv, which was taken in before";
        assert_eq!(
            {
                let path = "datasets/training/2018-04-01.csv";
                held.follows(path, period(path))
            },
            Err(reason.to_owned())
        );
    }
}
