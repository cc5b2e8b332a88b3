//! Which runs can go to free space: a pure decision over all runs of a volume.

use std::collections::BTreeSet;
use std::fmt;

/// What the decision needs to know of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub run: String,
    /// No worker does anything to it any more.
    pub has_ended: bool,
    /// It has its report: the next run may continue it.
    pub is_complete: bool,
    /// Its results are removed already.
    pub is_pruned: bool,
    /// `output/` holds its report.
    pub is_shown: bool,
    /// The runs whose commits it reads.
    pub continues: BTreeSet<String>,
}

/// Which runs the operator asks to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All but the newest numbered ones, this many, and the newest complete one.
    AllBut(usize),
    /// These.
    Named(BTreeSet<String>),
}

/// Why a run stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// It is among the newest, or was not named.
    Unwanted,
    /// It has a name, and only numbered runs are counted.
    HasAName,
    /// The next run continues the newest complete one.
    NewestComplete,
    /// Workers may work on it, or begin it.
    Open,
    /// `output/` shows it.
    Shown,
    /// This run, which stays, reads its results.
    ContinuedBy(String),
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its results can be removed.
    Goes,
    /// They cannot, or need not be.
    Stays(Stays),
}

fn number(run: &str) -> Option<u32> {
    run.parse().ok()
}

/// What becomes of each run, in their order.
pub fn verdicts(runs: &[Candidate], wanted: &Wanted) -> Vec<Verdict> {
    let newest_complete = runs.iter().filter(|run| run.is_complete).filter_map(|run| number(&run.run)).max();
    let mut verdicts: Vec<Verdict> =
        runs.iter().map(|run| verdict(run, newest_complete, &recent(runs, wanted), wanted)).collect();
    // What a run reads that stays has to stay, and with it what that reads.
    while let Some((at, by)) = continued(runs, &verdicts) {
        verdicts[at] = Verdict::Stays(Stays::ContinuedBy(by));
    }
    verdicts
}

/// The numbered runs that stay for being new.
fn recent(runs: &[Candidate], wanted: &Wanted) -> BTreeSet<u32> {
    let Wanted::AllBut(keep) = wanted else { return BTreeSet::new() };
    let mut numbers: Vec<u32> = runs.iter().filter_map(|run| number(&run.run)).collect();
    numbers.sort_unstable();
    numbers.into_iter().rev().take(*keep).collect()
}

fn verdict(
    run: &Candidate,
    newest_complete: Option<u32>,
    recent: &BTreeSet<u32>,
    wanted: &Wanted,
) -> Verdict {
    let number = number(&run.run);
    let unwanted = match wanted {
        Wanted::Named(names) => (!names.contains(&run.run)).then_some(Stays::Unwanted),
        Wanted::AllBut(_) if number.is_none() => Some(Stays::HasAName),
        Wanted::AllBut(_) => number.is_some_and(|number| recent.contains(&number)).then_some(Stays::Unwanted),
    };
    let stays = match unwanted {
        Some(unwanted) => Some(unwanted),
        None if !run.has_ended => Some(Stays::Open),
        None if run.is_shown => Some(Stays::Shown),
        None if number.is_some() && number == newest_complete => Some(Stays::NewestComplete),
        None => None,
    };
    stays.map_or(Verdict::Goes, Verdict::Stays)
}

/// A run that would go and that another reads which stays.
fn continued(runs: &[Candidate], verdicts: &[Verdict]) -> Option<(usize, String)> {
    let goes = |(at, run): (usize, &Candidate)| {
        let stays = runs.iter().zip(verdicts).filter(|(other, verdict)| {
            !other.is_pruned && **verdict != Verdict::Goes && other.continues.contains(&run.run)
        });
        let by = stays.map(|(other, _)| other.run.clone()).next_back()?;
        (verdicts[at] == Verdict::Goes).then_some((at, by))
    };
    runs.iter().enumerate().find_map(goes)
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwanted => f.write_str("it is among those to keep"),
            Self::HasAName => f.write_str("it has a name, and not a number: name it to prune it"),
            Self::NewestComplete => {
                f.write_str("it is the newest complete run, which the next one may continue")
            }
            Self::Open => f.write_str("it is open"),
            Self::Shown => f.write_str("output/ shows it"),
            Self::ContinuedBy(run) => write!(f, "run {run} continues it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (any::<[bool; 4]>(), prop::collection::btree_set(0..8usize, 0..3));
        prop::collection::vec(one, 1..8).prop_map(|all| {
            let name = |at: usize| if at == 3 { "mine".to_owned() } else { at.to_string() };
            let run =
                |(at, ([ended, complete, pruned, shown], before)): (usize, ([bool; 4], BTreeSet<usize>))| {
                    let continues = before.into_iter().filter(|other| *other < at).map(name).collect();
                    let is_complete = ended && complete && !pruned;
                    Candidate {
                        run: name(at),
                        has_ended: ended,
                        is_complete,
                        is_pruned: ended && pruned,
                        is_shown: is_complete && shown,
                        continues,
                    }
                };
            all.into_iter().enumerate().map(run).collect()
        })
    }

    proptest! {
        /// Whatever goes has ended, is not shown, is not the newest complete, and nothing that stays reads it.
        #[test]
        fn what_goes_is_missed_by_nobody(runs in candidates(), keep in 1..4usize) {
            let verdicts = verdicts(&runs, &Wanted::AllBut(keep));
            let newest = runs.iter().filter(|run| run.is_complete).filter_map(|run| number(&run.run)).max();
            let numbered = runs.iter().filter(|run| number(&run.run).is_some()).count();
            for (run, _) in runs.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Goes) {
                prop_assert!(run.has_ended && !run.is_shown && number(&run.run).is_some());
                prop_assert_ne!(number(&run.run), newest);
                for (other, other_verdict) in runs.iter().zip(&verdicts) {
                    let stays = *other_verdict != Verdict::Goes && !other.is_pruned;
                    prop_assert!(!(stays && other.continues.contains(&run.run)), "{} reads {}", other.run, run.run);
                }
            }
            let gone = verdicts.iter().filter(|verdict| **verdict == Verdict::Goes).count();
            prop_assert!(gone <= numbered.saturating_sub(keep));
        }

        /// With nothing against it, all but the newest go.
        #[test]
        fn ended_runs_that_nobody_reads_go(count in 1..9usize, keep in 1..4usize) {
            let run = |at: usize| Candidate {
                run: at.to_string(),
                has_ended: true,
                is_complete: true,
                is_pruned: false,
                is_shown: false,
                continues: BTreeSet::new(),
            };
            let runs: Vec<Candidate> = (0..count).map(run).collect();
            let gone = verdicts(&runs, &Wanted::AllBut(keep)).iter().filter(|verdict| **verdict == Verdict::Goes).count();
            prop_assert_eq!(gone, count.saturating_sub(keep));
        }
    }

    #[test]
    fn a_named_run_goes_unless_another_continues_it() {
        let run = |name: &str, continues: &[&str]| Candidate {
            run: name.to_owned(),
            has_ended: true,
            is_complete: true,
            is_pruned: false,
            is_shown: false,
            continues: continues.iter().map(|run| (*run).to_owned()).collect(),
        };
        let runs = [run("1", &[]), run("2", &["1"]), run("3", &["1", "2"]), run("mine", &[])];
        let named = |names: &[&str]| {
            verdicts(&runs, &Wanted::Named(names.iter().map(|run| (*run).to_owned()).collect()))
        };
        assert_eq!(named(&["1"])[0], Verdict::Stays(Stays::ContinuedBy("3".to_owned())));
        assert_eq!(named(&["mine"])[3], Verdict::Goes);
        assert_eq!(named(&["3"])[2], Verdict::Stays(Stays::NewestComplete));
    }
}
