//! Tables and times for people.

/// Rows in columns as wide as their texts, two blanks between them. The columns of numbers are aligned on the right.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], numbers: &[usize]) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().cloned());
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if numbers.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A moment in UTC, to the minute.
pub(crate) fn minute(at_ms: u64) -> String {
    formatted(at_ms, "%Y-%m-%d %H:%M")
}

/// A moment of today in UTC, to the second.
pub(crate) fn clock(at_ms: u64) -> String {
    formatted(at_ms, "%H:%M:%S")
}

/// How long ago something was, as far as two machines' clocks tell.
pub(crate) fn ago(now_ms: u64, at_ms: u64) -> String {
    format!("{} ago", for_a_time(now_ms.saturating_sub(at_ms)))
}

/// `0.4 s`, `12 s`, `3 min`, `5.2 h`.
pub(crate) fn for_a_time(ms: u64) -> String {
    let seconds = ms as f64 / 1000.0;
    match ms {
        0..10_000 => format!("{seconds:.1} s"),
        10_000..120_000 => format!("{seconds:.0} s"),
        120_000..7_200_000 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

/// The end of a text that is too long, marked as cut.
pub(crate) fn last_chars(text: &str, most: usize) -> String {
    let shown = text.escape_debug().to_string();
    let count = shown.chars().count();
    if count <= most {
        return shown;
    }
    let end: String = shown.chars().skip(count + 1 - most).collect();
    format!("…{end}")
}

fn formatted(at_ms: u64, form: &str) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    at.map_or_else(String::new, |at| at.strftime(form).to_string())
}

/// `1.2 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if bytes < 1000 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_texts() {
        let rows = [["1".to_owned(), "open".to_owned()], ["12".to_owned(), String::new()]];
        assert_eq!(table(["RUN", "STATE"], &rows, &[0]), "RUN  STATE\n  1  open\n 12\n");
    }

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567, 5_000_000_000_000_000].map(size),
            ["0 B", "999 B", "1.0 kB", "1.2 MB", "5000.0 TB"]
        );
    }

    #[test]
    fn times_have_two_digits_or_so_and_long_texts_are_cut() {
        assert_eq!(
            [0, 9_949, 12_400, 200_000, 7_300_000].map(for_a_time),
            ["0.0 s", "9.9 s", "12 s", "3 min", "2.0 h"]
        );
        assert_eq!(ago(5, 9), "0.0 s ago");
        assert_eq!(
            (last_chars("abcdef", 6), last_chars("abcdef", 4)),
            ("abcdef".to_owned(), "…def".to_owned())
        );
        assert_eq!(last_chars("a\nb", 9), "a\\nb");
    }

    #[test]
    fn a_moment_is_shown_to_the_minute() {
        assert_eq!(minute(1_795_478_400_000), "2026-11-24 00:00");
        assert_eq!(minute(u64::MAX), "");
    }
}
