//! Times as whole seconds since 1970-01-01 00:00 UTC, fractions cut off.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::cell::{Cell, Unit};
use super::reject::{Problem, quote};
use super::values;

/// Times of the years 1970 to 2199, in seconds.
const TIMES: std::ops::Range<i64> = 0..7_258_118_400;

/// Counts whose unit is to be guessed must fall into 2000 to 2099, in seconds: in these no
/// number is a time in two units.
const COUNTED_TIMES: std::ops::Range<i64> = 946_684_800..4_102_444_800;

/// The unit in which a column of counts counts: its first row decides.
pub(super) type Counting = std::cell::Cell<Option<Unit>>;

/// Text is read as UTC unless it names an offset. Integers (the tutorial's pickles have nanoseconds)
/// count from 1970 in the unit which makes them a time between 2000 and 2100, the same one in all rows.
pub(super) fn time(cell: Cell<'_>, counting: &Counting) -> Result<i64, Problem> {
    let seconds = match cell {
        Cell::Time(count, unit) => unit.seconds(count),
        Cell::Text(text) => match (values::integer_text(text), seconds_of(text)) {
            (Some(Ok(count)), _) => return counted(count, counting),
            (_, Some(seconds)) => seconds,
            _ if cell.is_missing() => return Err(Problem::Null),
            _ if text.contains('[') => return Err(Problem::ZoneWithoutOffset(quote(text))),
            _ => return Err(Problem::NotATime(quote(text))),
        },
        _ => match values::count(cell) {
            Some(count) => return counted(count, counting),
            None => return Err(cell.mistyped("a time")),
        },
    };
    match (TIMES.contains(&seconds), cell) {
        (true, _) => Ok(seconds),
        (false, Cell::Text(text)) => Err(Problem::OutOfTime(quote(text))),
        (false, _) => Err(Problem::OutOfTime(format!("{seconds} s since 1970"))),
    }
}

fn counted(count: i64, counting: &Counting) -> Result<i64, Problem> {
    let Some(unit) = Unit::ALL.into_iter().find(|unit| COUNTED_TIMES.contains(&unit.seconds(count))) else {
        return Err(Problem::NotACount(count.to_string()));
    };
    match counting.get() {
        Some(before) if before != unit => Err(Problem::MixedUnits(count, unit.name(), before.name())),
        _ => {
            counting.set(Some(unit));
            Ok(unit.seconds(count))
        }
    }
}

/// A date and time as pandas, Spark, databases and people write them: `2018-04-01 00:00:31`, with `T`, a
/// fraction, an offset, `Z` or `UTC`, or the date alone. A zone in brackets is read only beside an offset:
/// the offset says all, and what a zone's rules were would have to be known here.
pub(super) fn seconds_of(text: &str) -> Option<i64> {
    let whole = |time: Timestamp| time.as_nanosecond().div_euclid(1_000_000_000) as i64;
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(whole(time));
    }
    if let Some((time, zone)) = text.rsplit_once(' ')
        && let Some(offset) = offset(zone)
    {
        return format!("{time}{offset}").parse().ok().map(whole);
    }
    if text.contains('[') {
        return None;
    }
    let time: DateTime = text.parse().ok()?;
    Offset::UTC.to_timestamp(time).ok().map(whole)
}

/// What follows a time after a blank, if it is an offset: `UTC` as BigQuery writes it, or `+02:00`.
fn offset(zone: &str) -> Option<&str> {
    match zone {
        "UTC" | "GMT" | "Z" => Some("Z"),
        _ => Some(zone).filter(|zone| zone.starts_with(['+', '-'])),
    }
}

/// Whether a text could be a time in a column of such.
pub(super) fn looks_like_a_time(text: &str) -> bool {
    time(Cell::Text(text), &Counting::default()).is_ok()
}
