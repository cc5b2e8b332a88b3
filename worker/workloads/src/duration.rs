//! Durations as people write them on a command line.

use std::time::Duration;

/// Longest duration taken: sums and multiples of a few of them are far from overflow.
const DURATION_MAX: Duration = Duration::from_secs(10 * 24 * 3600);

/// A duration with its unit: `500ms`, `5s`, `2m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number with its unit: 500ms, 5s, 2m"))?;
    if span > DURATION_MAX { Err("it is longer than ten days".to_owned()) } else { Ok(span) }
}

/// The same text again, as an argument.
pub fn duration_text(span: Duration) -> String {
    humantime::format_duration(span).to_string().replace(' ', "")
}

/// The same of what cannot be nothing.
pub fn parse_positive(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if span.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(span) }
}
