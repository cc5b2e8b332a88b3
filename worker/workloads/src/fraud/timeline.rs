//! The history kept between joins: advanced day by day, rebuilt from the window's parts only where it
//! is not already what they say.

use crate::days::day_of;
use engine::hash::Hash;
use engine::manifest::Role;

use super::memory::{Memory, REACH_S};
use super::purchase::DAY_S;
use super::rows::{Header, Rows, text_of};

/// A prepared part: whose it is, when its rows are, and the hash of its rows, which another file may have too.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) hash: Hash,
    pub(super) header: Header,
    pub(super) rows: Hash,
}

impl Candidate {
    /// # Errors
    /// What is wrong with the bytes, for a message.
    pub(super) fn decode(hash: Hash, bytes: &[u8]) -> Result<Self, String> {
        let (header, rows) = Header::decode(bytes)?;
        Ok(Self { hash, header, rows: Hash::of(rows) })
    }

    /// Why it takes no part after those before it in the run, if it does not: another file has its rows, or
    /// nothing tells where its rows belong. A day in the name tells, and history is only looked at.
    pub(super) fn objection(&self, before: &[Self]) -> Option<String> {
        let own = &self.header;
        let is_copy = |other: &&Self| other.header.first == own.first && other.rows == self.rows;
        if let Some(other) = before.iter().find(is_copy) {
            return Some(format!(
                "its transactions are those of {}, which comes before it",
                other.header.path
            ));
        }
        let last = before.iter().max_by_key(|other| other.header.last)?;
        let is_placed = day_of(&own.path).is_some() || Role::of(&own.path) == Role::History;
        (!is_placed && last.header.last > own.first).then(|| {
            format!(
                "its transactions begin at {}, not after those of {}, which go until {} (hint: put the day into the \
                 name of each file, or the rows into files that follow each other)",
                text_of(own.first),
                last.header.path,
                text_of(last.header.last),
            )
        })
    }
}

/// Those of a window, in the run's order, that take part.
pub(super) fn taking_part(window: Vec<Candidate>) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in window {
        if candidate.objection(&kept).is_none() {
            kept.push(candidate);
        }
    }
    kept
}

/// Rows of a part that history holds: those until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Past {
    pub(super) hash: Hash,
    first: i64,
    last: i64,
    /// Time of its last row, or an earlier one: what is later is left out.
    pub(super) until: i64,
}

impl Past {
    /// All of a part's rows.
    pub(super) fn whole(hash: Hash, header: &Header) -> Self {
        Self { hash, first: header.first, last: header.last, until: header.last }
    }
}

/// What is added to history at once: a part, or several whose times overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer(pub(super) Vec<Past>);

impl Layer {
    fn first(&self) -> i64 {
        self.0.iter().map(|past| past.first).min().unwrap_or(i64::MAX)
    }

    /// Whether no row of it is left out.
    pub(super) fn is_whole(&self) -> bool {
        self.0.iter().all(|past| past.until == past.last)
    }

    pub(super) fn is_of_several(&self) -> bool {
        self.0.len() > 1
    }

    fn until(&self) -> i64 {
        self.0.iter().map(|past| past.until).max().unwrap_or(i64::MIN)
    }
}

/// What rows from `now` on see of the parts that take part, in time's order: the rows that are not later.
/// Parts of which each begins when the one before it has ended are a layer each.
pub(super) fn layers(parts: &[Candidate], now: i64) -> Vec<Layer> {
    let seen = |part: &Candidate| {
        let past = Past::whole(part.hash, &part.header);
        Past { until: past.until.min(now), ..past }
    };
    let mut parts: Vec<Past> = parts.iter().filter(|part| part.header.first <= now).map(seen).collect();
    // A stable sort: of two that begin and end at once, the first in the run stays first.
    parts.sort_by_key(|past| (past.first, past.until));
    let mut layers: Vec<Layer> = Vec::new();
    for past in parts {
        match layers.last_mut() {
            Some(layer) if layer.until() > past.first => layer.0.push(past),
            _ => layers.push(Layer(vec![past])),
        }
    }
    layers
}

/// What is remembered, and what it was made from.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeline<M> {
    pub(super) memory: M,
    seen: Vec<Layer>,
    /// The beginning of the day of the newest rows that it was made ready for: what earlier ones look at may be
    /// forgotten.
    ready_for: i64,
}

impl<M: Memory> Timeline<M> {
    /// Makes ready for rows from `now` on that see `layers`, and says how many of the last layers are still to
    /// be pushed. The result of that depends on the layers alone: if anything within reach was seen that is not
    /// among them, or in another order, history starts again from nothing.
    pub(super) fn missing(&mut self, layers: &[Layer], now: i64) -> usize {
        let within_reach = |layer: &&Layer| layer.until() > now - REACH_S;
        let wanted: Vec<&Layer> = layers.iter().filter(within_reach).collect();
        let seen: Vec<&Layer> = self.seen.iter().filter(within_reach).collect();
        let seen_last = self.seen.last().map_or(i64::MIN, Layer::until);
        let missing = wanted.len().saturating_sub(seen.len());
        let next_first = wanted.get(seen.len()).map_or(now, |layer| layer.first());
        let day = now.div_euclid(DAY_S) * DAY_S;
        if wanted.starts_with(&seen) && seen_last <= next_first && day >= self.ready_for {
            self.memory.forget(day);
            self.seen.retain(|layer| layer.until() > day - REACH_S);
            self.ready_for = day;
            return missing;
        }
        let all = wanted.len();
        *self = Self { ready_for: day, ..Self::default() };
        all
    }

    /// Adds a layer's rows, of which no features are asked, for rows from `now` on.
    pub(super) fn push(&mut self, layer: Layer, rows: &Rows, now: i64) {
        self.memory.push_all(rows, now);
        self.seen.push(layer);
    }

    /// Notes a part whose rows were pushed one by one.
    pub(super) fn note(&mut self, past: Past) {
        self.seen.push(Layer(vec![past]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(path: &str, first: i64, last: i64) -> Candidate {
        Candidate {
            hash: Hash::of(path.as_bytes()),
            header: Header { path: path.to_owned(), first, last, rows: 1 },
            rows: Hash::of(path.as_bytes()),
        }
    }

    fn shown(parts: &[Candidate], now: i64) -> Vec<Vec<(i64, i64)>> {
        let layer = |layer: &Layer| layer.0.iter().map(|past| (past.first, past.until)).collect();
        layers(parts, now).iter().map(layer).collect()
    }

    #[test]
    fn parts_that_overlap_are_one_layer_and_later_rows_are_left_out() {
        let parts =
            [part("a", 0, 9), part("b", 20, 29), part("c", 10, 22), part("d", 29, 40), part("e", 35, 50)];
        let first = [vec![(0, 9)], vec![(10, 22), (20, 29)]];
        assert_eq!(shown(&parts, 60), [&first[..], &[vec![(29, 40), (35, 50)]]].concat());
        assert_eq!(shown(&parts, 34), [&first[..], &[vec![(29, 34)]]].concat());
        assert_eq!(shown(&parts, 9), [vec![(0, 9)]]);
    }

    #[test]
    fn undated_files_follow_each_other_or_take_no_part() {
        let kept = |parts: Vec<Candidate>| {
            taking_part(parts).iter().map(|part| part.header.path.clone()).collect::<Vec<_>>()
        };
        // They may meet within a second.
        assert_eq!(
            kept(vec![part("a", 0, 9), part("b", 9, 19), part("c", 18, 30), part("d", 19, 20)]),
            ["a", "b", "d"]
        );
        let (day, history) = ("x/2018-04-01.csv", "datasets/history/x.csv");
        assert_eq!(kept(vec![part("a", 0, 9), part(day, 5, 8), part(history, 3, 4)]), ["a", day, history]);
        let copy = Candidate {
            header: Header { path: "2018-04-02.csv".to_owned(), first: 0, last: 9, rows: 1 },
            ..part("a", 0, 9)
        };
        assert_eq!(kept(vec![part("a", 0, 9), copy]), ["a"]);
    }
}
