//! What a column's cells may hold: integers, amounts, labels and kinds of fraud.

use super::cell::{Cell, DOUBLE, HALF, SINGLE, decimal_text};
use super::reject::{Problem, quote};
use engine::hash::Hash;

/// A billion of the currency. The sum over a dataset's rows stays far from the end of an i64.
const MAX_AMOUNT: f64 = 1e9;
pub(crate) const CENTS_MAX: i64 = 100 * MAX_AMOUNT as i64;

/// From here on two 32-bit floats beside each other are more than a cent apart.
const CENTS_OF_A_SINGLE: f64 = 131_072.0;

/// Kinds of frauds are kept in seven bits, one more than their number.
const MAX_SCENARIO: i64 = 126;

const INTEGER: &str = "an integer";
const AMOUNT: &str = "an amount";

/// Integers of any width, decimals and floats that are whole, and text of such. A float above the
/// integers that its digits tell apart is none: its last digits may be lost.
pub(super) fn integer(cell: Cell<'_>) -> Result<i64, Problem> {
    match cell {
        Cell::Int(value) => Ok(value),
        Cell::Wide(value) => Err(Problem::Unsigned(value)),
        Cell::Huge => Err(Problem::TooWide("the integer".to_owned())),
        Cell::Float(value, bits) if value.fract() == 0.0 => {
            if value.abs() < (1_u64 << bits) as f64 {
                Ok(value as i64)
            } else {
                Err(Problem::Inexact(value))
            }
        }
        Cell::Decimal(value, scale) => whole(value, scale).ok_or_else(|| cell.mistyped(INTEGER))?,
        Cell::Text(text) => integer_text(text).ok_or_else(|| cell.mistyped(INTEGER))?,
        _ => Err(cell.mistyped(INTEGER)),
    }
}

/// An integer that only has to differ from others, as the ids of customers and terminals: unsigned ones of 64
/// bits, hashes most often, are taken for the signed ones of the same bits.
pub(super) fn key(cell: Cell<'_>) -> Result<i64, Problem> {
    match integer(cell) {
        Err(Problem::Unsigned(value)) => Ok(value.cast_signed()),
        read => read,
    }
}

/// How a column of ids is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ids {
    #[default]
    Integers,
    /// Any text: 64 bits of its hash, so that equal texts are equal in every dataset. An integer is its digits, a UUID
    /// what is usually written for it.
    Texts,
}

impl Ids {
    /// Of transactions, whose ids people see again.
    pub(super) fn id(self, cell: Cell<'_>) -> Result<i64, Problem> {
        match self {
            Self::Integers => integer(cell).map_err(|problem| text_id(cell, problem)),
            Self::Texts => hashed(cell),
        }
    }

    /// Of customers and terminals.
    pub(super) fn key(self, cell: Cell<'_>) -> Result<i64, Problem> {
        match self {
            Self::Integers => key(cell).map_err(|problem| text_id(cell, problem)),
            Self::Texts => hashed(cell),
        }
    }
}

fn text_id(cell: Cell<'_>, problem: Problem) -> Problem {
    match (cell, problem) {
        (Cell::Text(text), Problem::Mistyped { found, .. }) if text.parse::<f64>().is_err() => {
            Problem::TextId(found)
        }
        (Cell::Uuid(_), Problem::Mistyped { found, .. }) => Problem::TextId(found),
        (Cell::Other(name), _) => Problem::NotAnId(name.to_owned()),
        (_, problem) => problem,
    }
}

fn hashed(cell: Cell<'_>) -> Result<i64, Problem> {
    let text = match cell {
        missing if missing.is_missing() => return Err(Problem::Null),
        Cell::Text(text) => text.to_owned(),
        Cell::Uuid(id) => uuid_text(id),
        Cell::Other(name) => return Err(Problem::NotAnId(name.to_owned())),
        cell => key(cell)?.to_string(),
    };
    let mut low = [0; 8];
    low.copy_from_slice(&Hash::of(text.as_bytes()).0[..8]);
    Ok(i64::from_le_bytes(low))
}

/// Lower-case digits in groups, as RFC 9562 has them.
fn uuid_text(id: u128) -> String {
    let digits = format!("{id:032x}");
    let groups = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    groups.join("-")
}

/// A decimal as an integer, where nothing follows its point.
fn whole(value: i128, scale: u32) -> Option<Result<i64, Problem>> {
    let one = 10_i128.checked_pow(scale).unwrap_or(i128::MAX);
    if value % one != 0 {
        return None;
    }
    Some(narrow(value / one))
}

fn narrow(value: i128) -> Result<i64, Problem> {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => Ok(value),
        (_, Ok(value)) => Err(Problem::Unsigned(value)),
        _ => Err(Problem::TooWide(value.to_string())),
    }
}

/// Digits, also with the `.0` of an integer that was a float for a while.
pub(super) fn integer_text(text: &str) -> Option<Result<i64, Problem>> {
    if let Ok(value) = text.parse() {
        return Some(Ok(value));
    }
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if !digits.is_empty() && zeros.bytes().all(|byte| byte == b'0') => digits,
        Some(_) => return None,
        None => text,
    };
    match digits.parse::<i128>() {
        Ok(value) => Some(narrow(value)),
        Err(error) => {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            matches!(error.kind(), PosOverflow | NegOverflow).then(|| Err(Problem::TooWide(quote(digits))))
        }
    }
}

/// The character before the cents in a column of text: the first fraction decides which.
pub(super) type Mark = std::cell::Cell<Option<char>>;

/// An amount in the currency's unit, as cents. Decimals are exact; floats and text are multiplied by 100
/// in f64. Both are rounded to the nearest integer, halves up. Fractions of a cent are rounded away
/// without an error, as amounts out of a float32 column or a conversion carry such a rest.
pub(super) fn cents(cell: Cell<'_>, mark: &Mark) -> Result<i64, Problem> {
    let amount = match cell {
        Cell::Int(value) => value as f64,
        Cell::Float(value, HALF) if value.is_finite() => {
            return Err(Problem::Coarse("a 16-bit float", value));
        }
        Cell::Float(value, SINGLE) if (CENTS_OF_A_SINGLE..=MAX_AMOUNT).contains(&value) => {
            return Err(Problem::Coarse("a 32-bit float", value));
        }
        Cell::Float(value, _) => value,
        Cell::Decimal(value, scale) => return decimal_cents(value, scale),
        Cell::Text(text) => amount_text(text, mark)?,
        Cell::Wide(_) | Cell::Huge => return Err(Problem::TooLarge("the integer".to_owned())),
        _ => return Err(cell.mistyped(AMOUNT)),
    };
    if amount.is_nan() {
        Err(Problem::NotFinite("NaN"))
    } else if amount.is_infinite() {
        Err(Problem::NotFinite("infinity"))
    } else if amount < 0.0 {
        Err(Problem::Negative(amount.to_string()))
    } else if amount > MAX_AMOUNT {
        Err(Problem::TooLarge(format!("{amount:e}")))
    } else {
        Ok((amount * 100.0).round() as i64)
    }
}

fn decimal_cents(value: i128, scale: u32) -> Result<i64, Problem> {
    if value < 0 {
        return Err(Problem::Negative(decimal_text(value, scale)));
    }
    let cents = match scale {
        0..=2 => value.checked_mul(10_i128.pow(2 - scale)),
        // A divisor beyond an i128 leaves nothing of any value.
        _ => Some(
            10_i128
                .checked_pow(scale - 2)
                .map_or(0, |one| value / one + i128::from(value % one >= one - one / 2)),
        ),
    };
    match cents.map(i64::try_from) {
        Some(Ok(cents)) if cents <= CENTS_MAX => Ok(cents),
        _ => Err(Problem::TooLarge(decimal_text(value, scale))),
    }
}

/// A decimal comma is read where it can be nothing else: where not just three digits follow it, and no point
/// stands in the whole column.
fn amount_text(text: &str, mark: &Mark) -> Result<f64, Problem> {
    let wrong = || Cell::Text(text).mistyped(AMOUNT);
    let found = text.chars().find(|&c| c == '.' || c == ',');
    if let (Some(found), Some(before)) = (found, mark.get())
        && found != before
    {
        return Err(Problem::MixedMarks(quote(text)));
    }
    mark.set(mark.get().or(found));
    if found != Some(',') {
        return text.parse().map_err(|_| wrong());
    }
    match text.split_once(',') {
        Some((whole, cents)) if cents.len() != 3 && cents.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{whole}.{cents}").parse().map_err(|_| wrong())
        }
        _ => Err(Problem::Comma(quote(text))),
    }
}

pub(super) fn label(cell: Cell<'_>) -> Result<bool, Problem> {
    match cell {
        Cell::Bool(value) => Ok(value),
        Cell::Text("True" | "true" | "TRUE" | "t" | "T" | "Y" | "y" | "yes" | "Yes" | "YES") => Ok(true),
        Cell::Text("False" | "false" | "FALSE" | "f" | "F" | "N" | "n" | "no" | "No" | "NO") => Ok(false),
        _ => match integer(cell)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Problem::NotALabel(other.to_string())),
        },
    }
}

/// A kind of fraud; 0 where none is named.
pub(super) fn kind(cell: Cell<'_>) -> Result<u8, Problem> {
    if cell.is_missing() {
        return Ok(0);
    }
    let value = integer(cell)?;
    match u8::try_from(value) {
        Ok(kind) if value <= MAX_SCENARIO => Ok(kind),
        _ => Err(Problem::NotAScenario(value.to_string())),
    }
}

/// A count that is an integer, whatever its type.
pub(super) fn count(cell: Cell<'_>) -> Option<i64> {
    match cell {
        Cell::Float(value, DOUBLE) if value.fract() == 0.0 => integer(cell).ok(),
        Cell::Int(_) | Cell::Decimal(..) => integer(cell).ok(),
        _ => None,
    }
}
