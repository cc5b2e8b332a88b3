//! A table's cells, whatever file they came from.

use super::reject::{Problem, quote};

/// A cell as a file gives it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// An unsigned integer above those of an i64.
    Wide(u64),
    /// An integer outside 64 bits.
    Huge,
    /// With the number of bits that its digits have: [`DOUBLE`], [`SINGLE`] or [`HALF`].
    Float(f64, u32),
    /// An integer, and how many of its last decimal digits are the fraction's.
    Decimal(i128, u32),
    Text(&'a str),
    Uuid(u128),
    Time(i64, Unit),
    /// Anything else, by the name of its type.
    Other(&'a str),
}

pub(super) const DOUBLE: u32 = f64::MANTISSA_DIGITS;
pub(super) const SINGLE: u32 = f32::MANTISSA_DIGITS;
pub(super) const HALF: u32 = 11;

/// Unit of a count of time since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    pub(super) const ALL: [Self; 4] =
        [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    /// The whole second that a count of this unit falls into.
    pub(super) fn seconds(self, count: i64) -> i64 {
        count.div_euclid(self.per_second())
    }
}

impl<'a> Cell<'a> {
    /// Text, if it is such and no longer than any number or time. (Formats in which many cells can
    /// share one text would otherwise let a small file ask for a lot of reading.)
    pub(super) fn text(bytes: &'a [u8]) -> Self {
        const LONGEST: usize = 256;
        match str::from_utf8(bytes.get(..LONGEST).unwrap_or(bytes)) {
            Ok(text) if text.len() == bytes.len() => Cell::Text(text),
            Ok(_) => Cell::Other("a long text"),
            Err(_) => Cell::Other("text that is not UTF-8"),
        }
    }

    pub(super) fn unsigned(value: u64) -> Self {
        i64::try_from(value).map_or(Cell::Wide(value), Cell::Int)
    }

    /// A half-precision float: IEEE 754's binary16.
    pub(super) fn half(bits: u16) -> Self {
        let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
        let magnitude = match exponent {
            0 => fraction * 2_f64.powi(-24),
            0x1f if fraction == 0.0 => f64::INFINITY,
            0x1f => f64::NAN,
            _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
        };
        Cell::Float(if bits >> 15 == 0 { magnitude } else { -magnitude }, HALF)
    }

    /// A decimal whose digits are an integer in two's complement, of up to 256 bits.
    pub(super) fn decimal(big_endian: &[u8], scale: u32) -> Self {
        const WIDEST: usize = 32;
        let negative = big_endian.first().is_some_and(|byte| byte & 0x80 != 0);
        if big_endian.len() > WIDEST {
            return Cell::Huge;
        }
        let mut whole = [if negative { 0xff } else { 0 }; WIDEST];
        whole[WIDEST - big_endian.len()..].copy_from_slice(big_endian);
        let mut scale = scale;
        loop {
            let (unused, digits) = whole.split_at(WIDEST - size_of::<i128>());
            let value = digits.iter().fold(0_i128, |value, &byte| value << 8 | i128::from(byte));
            if unused.iter().all(|&byte| byte == if value < 0 { 0xff } else { 0 }) {
                return Cell::Decimal(value, scale);
            }
            // What lies far behind the point is no part of a cent.
            if scale <= CENTS_AND_HALF || negative {
                return Cell::Huge;
            }
            divide_by_ten(&mut whole);
            scale -= 1;
        }
    }

    /// Whether it stands for no value: what the usual writers put there, in columns of text as well.
    pub(super) fn is_missing(self) -> bool {
        match self {
            Cell::Null => true,
            Cell::Float(value, _) => value.is_nan(),
            Cell::Text(text) => is_missing(text),
            _ => false,
        }
    }

    /// The problem of a cell that is not what its column wants.
    pub(super) fn mistyped(self, wanted: &'static str) -> Problem {
        let found = match self {
            missing if missing.is_missing() => return Problem::Null,
            Cell::Null => return Problem::Null,
            Cell::Bool(value) => format!("the boolean {value}"),
            Cell::Int(value) => format!("the integer {value}"),
            Cell::Wide(value) => format!("the integer {value}"),
            Cell::Huge => "an integer of more than 64 bits".to_owned(),
            Cell::Float(value, _) => format!("the float {value:?}"),
            Cell::Decimal(value, scale) => format!("the decimal {}", decimal_text(value, scale)),
            Cell::Text(text) => format!("the text {}", quote(text)),
            Cell::Uuid(_) => "a UUID".to_owned(),
            Cell::Time(..) => "a time".to_owned(),
            Cell::Other(name) => name.to_owned(),
        };
        Problem::Mistyped { found, wanted }
    }
}

/// Digits behind a decimal point that decide how an amount is rounded to cents.
const CENTS_AND_HALF: u32 = 3;

/// Leaves out the last decimal digit of an unsigned integer.
fn divide_by_ten(big_endian: &mut [u8]) {
    let mut rest = 0;
    for byte in big_endian {
        let dividend = rest << 8 | u16::from(*byte);
        *byte = (dividend / 10) as u8;
        rest = dividend % 10;
    }
}

/// What pandas reads as no value, and what it, Postgres (`\N`) and Spark write for one.
fn is_missing(text: &str) -> bool {
    const WORDS: [&str; 14] =
        ["", "\\N", "NULL", "null", "Null", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "None", "NaT"];
    text.len() <= 4 && WORDS.contains(&text)
}

pub(super) fn decimal_text(value: i128, scale: u32) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let (sign, point) = (if value < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
    quote(&format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_has_its_value() {
        let value = |bits| match Cell::half(bits) {
            Cell::Float(value, HALF) => value,
            other => panic!("{other:?}"),
        };
        // IEEE 754: one, minus two, the largest, the smallest, the smallest normal one, a third.
        let bits = [0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x3555];
        let values = [1.0, -2.0, 65504.0, 2_f64.powi(-24), 2_f64.powi(-14), 0.333251953125];
        assert_eq!(bits.map(value), values);
        assert!(value(0x7c00).is_infinite() && value(0x7e01).is_nan());
        assert!(value(0x8000) == 0.0 && value(0x8000).is_sign_negative());
    }

    #[test]
    fn a_decimal_of_any_width_has_its_value() {
        let text = |bytes: &[u8], scale| match Cell::decimal(bytes, scale) {
            Cell::Decimal(value, scale) => decimal_text(value, scale),
            other => format!("{other:?}"),
        };
        assert_eq!(text(&[0x3f, 0xec], 2), "163.64");
        assert_eq!(text(&[0xff, 0xfb], 2), "-0.05");
        assert_eq!(text(&[0xff; 32], 0), "-1");
        assert_eq!(text(&[&[0; 30][..], &[5]].concat(), 1), "0.5");
        assert_eq!(text(&[], 0), "0");
        assert_eq!(text(&[&[0][..], &[0xff; 16]].concat(), 0), "Huge");
        assert_eq!(text(&[&[1][..], &[0; 16]].concat(), 0), "Huge");
        assert_eq!(text(&[0; 33], 0), "Huge");
        // 2^128 / 10^38, by Python: 3.402823669209384634633746074317682114 (56)
        assert_eq!(text(&[&[1][..], &[0; 16]].concat(), 38), "3.4028236692093846346337460743176821145");
    }
}
