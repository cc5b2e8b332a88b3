//! CSV as databases, spreadsheets and people write it: the same rows each time, or a refusal with its line. No
//! row may be lost without notice.

#![expect(clippy::unwrap_used)]

mod input_support;

use std::io::Write;

use input_support::{NAMES, Row, csv, expected, rows};
use proptest::prelude::*;
use workloads::input::{Columns, is_dataset, read, read_mapped};

/// Three rows as fields, each of which `change` may write another way.
fn table(delimiter: &str, end: &str, change: impl Fn(&str, String) -> String) -> Vec<u8> {
    let rows = [
        ["1", "2018-06-01 00:01:11", "852", "5161", "163.64", "0", "0"],
        ["2", "2018-06-01 00:30:22", "5", "7082", "23.80", "1", "2"],
        ["3", "2018-06-01 01:39:05", "1699", "5651", "1243.39", "0", "0"],
    ];
    let header = NAMES.map(str::to_owned).join(delimiter);
    let row = |row: [&str; 7]| {
        let fields = NAMES.into_iter().zip(row).map(|(name, field)| change(name, field.to_owned()));
        fields.collect::<Vec<_>>().join(delimiter)
    };
    let lines: Vec<String> = [header].into_iter().chain(rows.map(row)).collect();
    (lines.join(end) + end).into_bytes()
}

/// The plain table with one column written another way.
fn with(column: &str, change: impl Fn(&str) -> String) -> Vec<u8> {
    table(",", "\n", |name, field| if name == column { change(&field) } else { field })
}

fn plain() -> Vec<u8> {
    with("", str::to_owned)
}

fn replaced(from: &str, to: &str) -> Vec<u8> {
    String::from_utf8(plain()).unwrap().replace(from, to).into_bytes()
}

#[test]
fn other_ways_to_write_the_same_are_read() {
    let time = |change: fn(&str) -> String| with("TX_DATETIME", change);
    let fraud = |no: &'static str, yes: &'static str| {
        with("TX_FRAUD", move |field| if field == "1" { yes } else { no }.to_owned())
    };
    let scenario = |none: &'static str| {
        with("TX_FRAUD_SCENARIO", move |field| if field == "0" { none } else { field }.to_owned())
    };
    let lower = |text: Vec<u8>| String::from_utf8(text).unwrap().to_lowercase().into_bytes();
    let same = [
        ("semicolons", table(";", "\r\n", |_, field| field)),
        ("tabs", table("\t", "\n", |_, field| field)),
        ("bars", table("|", "\n", |_, field| field)),
        ("blanks after commas", table(", ", "\n", |_, field| format!("\"{field}\""))),
        ("carriage returns", table(",", "\r", |_, field| field)),
        ("Excel's first line", [&b"sep=;\r\n"[..], &table(";", "\r\n", |_, field| field)].concat()),
        (
            "decimal commas",
            table(";", "\n", |name, field| {
                if name == "TX_AMOUNT" { field.replace("23.80", "23.8").replace('.', ",") } else { field }
            }),
        ),
        ("no last line end", plain().trim_ascii_end().to_vec()),
        ("empty lines", replaced("\n", "\n\r\n")),
        ("lower-case names", lower(plain())),
        ("names with blanks", replaced("TRANSACTION_ID", " Transaction ID ")),
        ("UTC", time(|time| format!("{time} UTC"))),
        ("a fraction and UTC", time(|time| format!("{time}.123456 UTC"))),
        ("Postgres' offset", time(|time| format!("{time}+00"))),
        ("Snowflake's offset", time(|time| format!("{time}.000 +0000"))),
        ("another offset behind a blank", time(|time| time.replace(" 0", " 1") + " +10:00")),
        ("a zone beside its offset", time(|time| time.replace(" 0", "T1") + "+10:00[Australia/Brisbane]")),
        ("t and f", fraud("f", "t")),
        ("TRUE and FALSE", fraud("FALSE", "TRUE")),
        ("floats as labels", fraud("0.0", "1.0")),
        ("Y and N", fraud("N", "Y")),
        ("floats as ids", with("CUSTOMER_ID", |id| format!("{id}.0"))),
        ("no scenario", scenario("")),
        ("Postgres' null", scenario("\\N")),
        ("NULL", scenario("NULL")),
        ("NA", scenario("NA")),
        ("NaN", scenario("NaN")),
        ("floats as scenarios", with("TX_FRAUD_SCENARIO", |kind| format!("{kind}.0"))),
    ];
    let right = read("day.csv", &plain()).unwrap();
    assert_eq!((right.cents.as_slice(), right.time[0]), (&[16_364, 2380, 124_339][..], 1_527_811_271));
    for (name, bytes) in same {
        assert_eq!(read("day.csv", &bytes), Ok(right.clone()), "{name}: {}", String::from_utf8_lossy(&bytes));
    }
}

/// A column beside, which holds such notes.
fn noted(notes: [&str; 3]) -> Vec<u8> {
    let text = String::from_utf8(plain()).unwrap();
    let beside = ["NOTE"].into_iter().chain(notes);
    text.lines().zip(beside).map(|(line, note)| format!("{line},{note}\n")).collect::<String>().into_bytes()
}

#[test]
fn quotes_are_read_as_they_were_meant_or_refused() {
    let right = read("day.csv", &plain()).unwrap();
    let read_notes = |notes| read("day.csv", &noted(notes));
    for notes in [
        ["ok", "19\" inch", "ok"],
        ["\"two\nlines, of \"\"text\"\"\"", "\"\"", "ok"],
        // Spark's quotes, and a backslash that is just one.
        ["\"monitor 24\\\"\"", "\"monitor 24\\\"\"", "\"a \\\"b\\\", c\""],
        ["\"C:\\\\dir\\\\\"", "\"\\\"\"", "\"\""],
        ["\"C:\\dir\\\"", "ok", "ok"],
    ] {
        assert_eq!(read_notes(notes), Ok(right.clone()), "{notes:?}");
    }
    let said = [
        ["ok", "\"19 inch", "ok"],
        ["\"19 inch", "ok", "24 inch\""],
        ["\"19 inch", "24 inch\"", "ok"],
        ["\"19 inch", "\"19 inch", "ok"],
        ["ok", "\"19\" inch", "ok"],
    ]
    .map(|notes| format!("{notes:?}: {}", read_notes(notes).unwrap_err()));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_is_no_plain_table_is_refused_with_its_line() {
    let text = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let utf16 = [&[0xff, 0xfe][..], &text(&String::from_utf8(plain()).unwrap())].concat();
    let said = [
        ("a zone without an offset", with("TX_DATETIME", |time| time.replace(' ', "T") + "[Europe/Paris]")),
        ("a named zone", with("TX_DATETIME", |time| format!("{time} CEST"))),
        ("days first", with("TX_DATETIME", |_| "01.06.2018 00:01:11".to_owned())),
        ("an amount of thousands", with("TX_AMOUNT", |amount| format!("\"1,{amount}\""))),
        ("thousands without cents", with("TX_AMOUNT", |_| "\"1,234\"".to_owned())),
        ("both marks", with("TX_AMOUNT", |amount| amount.replace("23.80", "\"23,80\""))),
        ("a refund", with("TX_AMOUNT", |amount| amount.replace("23", "-23"))),
        ("no amount", with("TX_AMOUNT", |amount| amount.replace("23.80", "NULL"))),
        ("no label", with("TX_FRAUD", |label| label.replace('1', "NA"))),
        ("a wrong cell after CRLF", table(",", "\r\n", |_, field| field.replace("23.80", "oops"))),
        ("a footer", [&plain()[..], b"(3 rows)\n"].concat()),
        ("a second header", [plain(), plain()].concat()),
        ("zeros at the end", [&plain()[..], &[0; 9]].concat()),
        ("zeros in a cell", with("TX_FRAUD_SCENARIO", |kind| format!("{kind}\0"))),
        ("UTF-16", utf16.clone()),
        ("UTF-16 without a mark", utf16[2..].to_vec()),
        ("no header", plain().splitn(2, |byte| *byte == b'\n').last().unwrap().to_vec()),
        ("an id of 64 bits", with("TRANSACTION_ID", |id| format!("1844674407370955161{id}"))),
        ("an id of more", with("CUSTOMER_ID", |id| format!("18446744073709551616{id}"))),
        ("an id that is no integer", with("CUSTOMER_ID", |id| format!("{id}.5"))),
    ]
    .map(|(name, bytes)| format!("{name}: {}", read("day.csv", &bytes).unwrap_err()));
    insta::assert_snapshot!(said.join("\n"));
}

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKINGS: [(&str, Pack); 4] = [
    ("gz", |bytes| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }),
    ("bz2", |bytes| {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }),
    ("xz", |bytes| {
        let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }),
    ("zst", |bytes| zstd::encode_all(bytes, 0).unwrap()),
];

#[test]
fn a_compressed_file_is_what_is_in_it_and_never_a_part_of_that() {
    let right = read("day.csv", &plain());
    for (ending, pack) in PACKINGS {
        let packed = pack(&plain());
        for name in ["day.csv", "day"] {
            assert_eq!(read(&format!("{name}.{ending}"), &packed), right, "{ending}");
        }
        // Without its mark the rest of a file is no text.
        for cut in 0..packed.len() {
            assert!(read(&format!("day.csv.{ending}"), &packed[..cut]).is_err(), "{ending} cut at {cut}");
        }
        let twice = read("day.csv", &pack(&packed)).unwrap_err().to_string();
        assert!(twice.starts_with("the file is compressed with"), "{twice}");
        let empty = read("day.pkl.gz", &pack(b"")).unwrap_err().to_string();
        assert_eq!(empty, "the file is empty", "{ending}");
    }
}

#[test]
fn hidden_files_are_no_datasets() {
    for name in
        ["2018-04-01.csv", "a/2018-04-01.CSV", "b.csv.gz", "c.pkl.xz", "d.Parquet", "e.pickle", "f.csv.ZST"]
    {
        assert!(is_dataset(name), "{name}");
    }
    for name in [
        ".2018-04-01.csv.swp",
        "a/.a.csv",
        "._2018-04-01.csv",
        "_SUCCESS",
        "notes.gz",
        "csv",
        "a.csv.zip",
        "b.csv~",
    ] {
        assert!(!is_dataset(name), "{name}");
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Any text, with many of the characters that matter to CSV.
fn notes(most: usize) -> impl Strategy<Value = Vec<String>> {
    let note = prop::collection::vec(
        prop_oneof![2 => prop::sample::select(vec!['"', '\\', ',', '\n', '\r', ';', ' ', 'a']), 1 => any::<char>()],
        0..8,
    );
    prop::collection::vec(note.prop_map(String::from_iter), most)
}

/// A table with notes in the middle, quoted by `quote`.
fn with_notes(rows: &[Row], notes: &[String], quote: impl Fn(&str) -> String) -> Vec<u8> {
    let text = String::from_utf8(csv(rows)).unwrap();
    let beside = ["NOTE".to_owned()].into_iter().chain(notes.iter().map(|note| quote(note)));
    let line = |(line, note): (&str, String)| {
        let (before, after) = line.split_at(line.match_indices(',').nth(2).unwrap().0);
        format!("{before},{note}{after}\n")
    };
    text.lines().zip(beside).map(line).collect::<String>().into_bytes()
}

/// How many rows a text begins: line ends outside of quotes, as RFC 4180 has them, and what follows the last.
fn begun(text: &[u8]) -> usize {
    let mut inside = false;
    let mut lines = text.split(|byte| {
        inside ^= *byte == b'"';
        *byte == b'\n' && !inside
    });
    lines.by_ref().filter(|line| !line.trim_ascii().is_empty()).count().saturating_sub(1)
}

proptest! {
    #![proptest_config(config(300))]

    /// By the csv crate's writer, whose quotes are RFC 4180's.
    #[test]
    fn notes_of_any_text_do_not_matter(rows in rows(12), notes in notes(12)) {
        let quote = |note: &str| {
            let mut writer = ::csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
            writer.write_record([note, ""]).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            line.strip_suffix(",\n").unwrap().to_owned()
        };
        prop_assert_eq!(read("day.csv", &with_notes(&rows, &notes, quote)), Ok(expected(&rows)));
    }

    /// With Spark's quotes a file is read, or refused where it could be meant in two ways; no row is lost.
    #[test]
    fn backslashes_before_quotes_lose_no_row(rows in rows(12), notes in notes(12)) {
        let quote = |note: &str| format!("\"{}\"", note.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " "));
        if let Ok(day) = read("day.csv", &with_notes(&rows, &notes, quote)) {
            prop_assert_eq!(day, expected(&rows));
        }
    }

    /// A file that ends before its end is refused, or has every row that it begins.
    #[test]
    fn a_cut_file_loses_no_row_that_it_begins(rows in rows(12), notes in notes(12), cut in any::<prop::sample::Index>()) {
        let quote = |note: &str| format!("\"{}\"", note.replace('"', "\"\""));
        let text = with_notes(&rows, &notes, quote);
        let cut = &text[..cut.index(text.len())];
        if let Ok(day) = read("day.csv", cut) {
            prop_assert_eq!(day.id.len(), begun(cut));
        }
    }

    /// Stray quotes at the beginnings of notes that are otherwise plain: refused, or every row is there.
    #[test]
    fn stray_quotes_lose_no_row(rows in rows(12), stray in prop::collection::vec(0..4_u8, 12)) {
        let notes: Vec<String> = stray.iter().map(|how| ["ok", "\"19 inch", "24 inch\"", "\"\""][usize::from(*how)].to_owned()).collect();
        if let Ok(day) = read("day.csv", &with_notes(&rows, &notes, str::to_owned)) {
            prop_assert_eq!(day, expected(&rows));
        }
    }
}

/// A table of the user's own, with names of columns and ids as databases have them.
#[test]
fn columns_of_other_names_are_mapped() {
    let theirs = "txn,user,shop,created_at,total,is_fraud,kind,TX_AMOUNT";
    let mapping =
        "id=txn,customer=user,terminal=shop,time=created_at,amount=total,fraud=is_fraud,scenario=kind";
    let rows = ["1,852,5161", "2,5,7082", "3,1699,5651"];
    let rest = [
        "2018-06-01 00:01:11,163.64,0,0,9",
        "2018-06-01 00:30:22,23.80,1,2,9",
        "2018-06-01 01:39:05,1243.39,0,0,9",
    ];
    let lines: Vec<String> = rows.iter().zip(rest).map(|(ids, rest)| format!("{ids},{rest}")).collect();
    let file = format!("{theirs}\n{}\n", lines.join("\n"));
    let columns = Columns::parse(mapping).unwrap();
    assert_eq!(read_mapped("a.csv", file.as_bytes(), &columns), read("a.csv", &plain()));
    let without = read("a.csv", file.as_bytes()).unwrap_err().to_string();
    assert!(without.starts_with("missing columns TRANSACTION_ID, TX_DATETIME"), "{without}");
    assert!(without.ends_with("(hint: --map-columns says which of yours it is)"), "{without}");
}

#[test]
fn ids_of_text_are_equal_where_the_texts_are() {
    let renamed = |column: &str| with(column, |field| format!("C-{field}"));
    let texts = Columns::default().with_text_ids(true);
    for column in ["TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID"] {
        let read_texts = |name| read_mapped(name, &renamed(column), &texts).unwrap();
        let (one, other) = (read_texts("a.csv"), read_texts("b.csv"));
        assert_eq!(one, other);
        for ids in [&one.id, &one.customer, &one.terminal] {
            assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        }
        let refused = read("a.csv", &renamed(column)).unwrap_err().to_string();
        assert!(refused.ends_with("(hint: --text-ids takes any text as an id)"), "{refused}");
    }
    // An integer is its digits, however it is written; what stands for nothing is no id.
    let floats = with("CUSTOMER_ID", |field| format!("{field}.0"));
    assert_ne!(read_mapped("a.csv", &floats, &texts), read_mapped("a.csv", &plain(), &texts), "as text");
    for nothing in ["", "NA", "NULL", "nan"] {
        let file = with("CUSTOMER_ID", |_| nothing.to_owned());
        let refused = read_mapped("a.csv", &file, &texts).unwrap_err().to_string();
        assert!(refused.starts_with("CUSTOMER_ID, line 2: "), "{nothing}: {refused}");
    }
}
