//! What the customers' turn commits: the features that depend on customers alone, as bins, and what the terminals'
//! turn needs to know of customers.
//!
//! ```text
//! "FRAUDCUS"                magic
//! u32                       version (1)
//! u32                       version of the bin edges
//! u32, bytes                length and text of the feature set's name; c of its features are the customers'
//! u64                       rows, n
//! n x c u8                  each row's bins of these, in the order of the features
//! n x u8                    level of the amount over the usual; with n x f64: in the sets that ask what is usual
//! n x f64                   odds of a fraud by misuse of the card
//! u64                       days in the rows, each:
//!   i64                     the day
//!   u64                     customers, m, whose frauds the day's terminals may look at
//!   3 columns               customer, median in cents and number of the amounts of 30 days: as in a prepared part
//! ```
//! All numbers are little-endian.

use super::bytes::{Reader, Writer};
use super::customers::Usuals;
use super::edges;
use super::feature_set::FeatureSet;
use super::features::CustomerState;
use super::likelihood::Usual;

const MAGIC: &[u8; 8] = b"FRAUDCUS";
const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Spent {
    /// The bins of the customers' features, row after row.
    pub(super) bins: Vec<u8>,
    /// A state a row.
    pub(super) states: Vec<CustomerState>,
    /// What was usual, by day, ascending.
    pub(super) days: Vec<Usuals>,
}

impl Spent {
    pub(super) fn encode(&self, set: FeatureSet) -> Vec<u8> {
        let mut out = Writer::new(MAGIC, VERSION);
        out.u32(edges::VERSION);
        out.text(set.name());
        out.u64(self.states.len() as u64);
        out.bytes(&self.bins);
        if set.asks_usual() {
            let levels: Vec<u8> = self.states.iter().map(|state| state.level).collect();
            out.bytes(&levels);
            let odds: Vec<f64> = self.states.iter().map(|state| state.misused).collect();
            out.f64s(&odds);
        }
        out.u64(self.days.len() as u64);
        for day in &self.days {
            out.i64(day.day);
            out.u64(day.customers.len() as u64);
            let column = |of: &dyn Fn(&(i64, Usual)) -> i64| day.customers.iter().map(of).collect::<Vec<_>>();
            out.packed(&column(&|(customer, _)| *customer));
            out.packed(&column(&|(_, usual)| usual.cents));
            out.packed(&column(&|(_, usual)| usual.count.into()));
        }
        out.finish()
    }

    /// # Errors
    /// What is wrong with the bytes, for a message.
    pub(super) fn decode(bytes: &[u8], set: FeatureSet) -> Result<Self, String> {
        let mut input = Reader::new(bytes, MAGIC, VERSION)?;
        let found = input.u32()?;
        if found != edges::VERSION {
            return Err(format!("bin edges of version {found}, this program has version {}", edges::VERSION));
        }
        let other = input.set()?;
        if other != set {
            return Err(format!("it has the features `{}`, not `{}`", other.name(), set.name()));
        }
        let rows = input.len()?;
        let bins = input.take(rows.saturating_mul(set.places(true).len()))?.to_vec();
        let mut states = vec![CustomerState::default(); rows];
        if set.asks_usual() {
            let levels = input.take(rows)?;
            let odds = input.f64s(rows)?;
            for (state, (level, misused)) in states.iter_mut().zip(levels.iter().zip(odds)) {
                *state = CustomerState { level: *level, misused };
            }
        }
        let mut days = Vec::new();
        for _ in 0..input.len()? {
            let day = input.i64()?;
            let count = input.len()?;
            let (customers, cents, counts) =
                (input.packed(count)?, input.packed(count)?, input.packed(count)?);
            let usual =
                cents.into_iter().zip(counts).map(|(cents, count)| Usual { cents, count: count as u32 });
            days.push(Usuals { day, customers: customers.into_iter().zip(usual).collect() });
        }
        input.end()?;
        Ok(Self { bins, states, days })
    }
}
