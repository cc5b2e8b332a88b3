//! The readers on bytes that nobody wrote on purpose, and on tables that they must read back: what
//! they answer is a table whose columns are equally long, or a reason.

#![expect(clippy::unwrap_used)]

mod input_support;

use input_support::asm::{Asm, pickle};
use input_support::{Column, Row, columns, csv, expected, layouts, parquet, rows, samples};
use proptest::prelude::*;
use workloads::input::{Columns, read, read_mapped};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The largest amount in cents that a way to hold decimals has digits for: INT32 has nine.
fn fitting(row: Row, way: u8, finer: bool) -> Row {
    let most = if way == 0 { if finer { 21_474_836 } else { 2_147_483_647 } } else { i64::MAX };
    Row { cents: row.cents.min(most), ..row }
}

fn decimals(rows: &[Row], way: u8, finer: bool) -> Column {
    let value = |row: &Row| fitting(row.clone(), way, finer).cents * if finer { 100 } else { 1 };
    let values = rows.iter().map(value);
    let kind = |coarse, fine| if finer { fine } else { coarse };
    match way {
        0 => Column::Int32(
            kind("int32 (DECIMAL(9,2))", "int32 (DECIMAL(9,4))"),
            values.map(|value| Some(i32::try_from(value).unwrap())).collect(),
        ),
        1 => {
            Column::Int64(kind("int64 (DECIMAL(18,2))", "int64 (DECIMAL(18,4))"), values.map(Some).collect())
        }
        2 => Column::Fixed(
            kind("fixed_len_byte_array(9) (DECIMAL(20,2))", "fixed_len_byte_array(9) (DECIMAL(20,4))"),
            values.map(|value| Some(i128::from(value).to_be_bytes()[7..].to_vec())).collect(),
        ),
        // As few bytes as the number needs, and one for its sign.
        _ => Column::Bytes(
            kind("binary (DECIMAL(38,2))", "binary (DECIMAL(38,4))"),
            values
                .map(|value| {
                    Some(
                        value.to_be_bytes()[(value.leading_zeros() as usize).saturating_sub(1) / 8..]
                            .to_vec(),
                    )
                })
                .collect(),
        ),
    }
}

/// Whatever the bytes, and whatever the name.
fn read_or_refused(bytes: &[u8]) {
    for path in ["day.pkl", "day.parquet", "day.csv"] {
        match read(path, bytes) {
            Ok(day) => {
                let rows = day.id.len();
                assert!(rows > 0);
                let others = [day.time.len(), day.customer.len(), day.terminal.len(), day.cents.len()];
                assert_eq!((others, day.fraud.len()), ([rows; 4], rows));
                assert!(day.scenario.is_none_or(|scenario| scenario.len() == rows));
            }
            Err(reject) => assert!(!reject.to_string().is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_or_refused(&bytes);
    }

    /// The pickle machine's own opcodes, in any order.
    #[test]
    fn any_opcodes_are_read_or_refused(
        bytes in prop::collection::vec(prop_oneof![
            4 => prop::sample::select(b"()]}.0123NKMJX\x85\x86\x87\x80\x81\x88\x89\x8a\x8c\x8e\x93\x94\x95\x96Rabceghijlpqrstu".to_vec()),
            1 => any::<u8>(),
        ], 0..200),
    ) {
        read_or_refused(&[b"\x80\x04", &bytes[..], b"."].concat());
    }
}

/// A class of one's own in an index that nobody reads does no harm; what an attack asks for is named, wherever it is.
#[test]
fn a_foreign_name_matters_only_where_it_is_read_or_suspicious() {
    let rows = [Row { id: 1, time: 5, customer: 2, terminal: 3, cents: 4, fraud: true, scenario: 1 }];
    let index = |module: &str, name: &str| {
        // The rows' index of `asm.rs` is None, and behind it come the ends of what holds it.
        let plain = pickle(&rows);
        let (before, after) = plain.split_at(plain.len() - b"Ne\x86Rsb.".len());
        [before, &Asm(Vec::new()).global(module, name).0[..], &after[1..]].concat()
    };
    for (module, name) in [("myapp.types", "Note"), ("collections", "OrderedDict"), ("builtins", "set")] {
        assert_eq!(read("day.pkl", &index(module, name)), Ok(expected(&rows)), "{module}.{name}");
    }
    for (module, name) in
        [("os", "system"), ("builtins", "eval"), ("pandas", "io.os.system"), ("subprocess", "run")]
    {
        let said = read("day.pkl", &index(module, name)).unwrap_err().to_string();
        assert!(said.contains(&format!("asks for `{module}.{name}`")), "{said}");
    }
}

/// Files of pandas and pyarrow, a few bytes of which are others, fewer or more.
#[test]
fn damaged_samples_are_read_or_refused() {
    let all: Vec<_> =
        ["pickle", "parquet", "csv", "hostile", "refused"].into_iter().flat_map(samples).collect();
    let edit = || (any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    proptest!(config(2_000), |(which in any::<prop::sample::Index>(), edits in prop::collection::vec(edit(), 1..8))| {
        let mut bytes = all[which.index(all.len())].1.clone();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len().max(1));
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at > 0 => bytes.truncate(at),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
        read_or_refused(&bytes);
    });
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_pickle_reads_back(rows in rows(30)) {
        prop_assert_eq!(read("day.pkl", &pickle(&rows)), Ok(expected(&rows)));
    }

    #[test]
    fn a_csv_reads_back(rows in rows(30)) {
        prop_assert_eq!(read("day.csv", &csv(&rows)), Ok(expected(&rows)));
    }

    /// Amounts as decimals, in each of Parquet's four ways to hold one, with two digits of cents or four.
    #[test]
    fn a_parquet_of_decimals_reads_back(rows in rows(60), layout in layouts(), way in 0..4_u8, finer in any::<bool>()) {
        let mut columns = columns(&rows);
        columns[4].1 = decimals(&rows, way, finer);
        let rows: Vec<_> = rows.iter().cloned().map(|row| fitting(row, way, finer)).collect();
        prop_assert_eq!(read("day.parquet", &parquet(&columns, layout)), Ok(expected(&rows)));
    }

    /// An id that only has to differ from others may have any 64 bits; a whole number may be a float or a decimal.
    #[test]
    fn ids_may_be_unsigned_floats_or_decimals(rows in rows(30), layout in layouts()) {
        let whole = |value: i64| value >> 12;
        let rows: Vec<_> = rows.into_iter().map(|row| Row { terminal: whole(row.terminal), ..row }).collect();
        let all = |cell: fn(&Row) -> i64| rows.iter().map(|row| Some(cell(row))).collect::<Vec<_>>();
        let decimal = |row: &Row| Some(i128::from(row.id).to_be_bytes().to_vec());
        let mut columns = columns(&rows);
        columns[0].1 = Column::Bytes("binary (DECIMAL(38,0))", rows.iter().map(decimal).collect());
        columns[2].1 = Column::Int64("int64 (UINT_64)", all(|row| row.customer));
        columns[3].1 = Column::Double(rows.iter().map(|row| Some(row.terminal as f64)).collect());
        prop_assert_eq!(read("day.parquet", &parquet(&columns, layout)), Ok(expected(&rows)));
    }

    #[test]
    fn a_parquet_reads_back(rows in rows(60), layout in layouts()) {
        prop_assert_eq!(read("day.parquet", &parquet(&columns(&rows), layout)), Ok(expected(&rows)));
    }
}

proptest! {
    #![proptest_config(config(30))]

    /// With ids of text a UUID is what CSV holds for it; without, it is said how such ids are read.
    #[test]
    fn uuids_are_what_their_texts_are(rows in rows(30), layout in layouts()) {
        let bytes = |row: &Row| i128::from(row.customer).to_be_bytes();
        let text = |row: &Row| {
            let dash = |at: usize| if [4, 6, 8, 10].contains(&at) { "-" } else { "" };
            bytes(row).iter().enumerate().map(|(at, byte)| format!("{}{byte:02x}", dash(at))).collect::<String>()
        };
        let file = |customers: Column| {
            let mut columns = columns(&rows);
            columns[2].1 = customers;
            parquet(&columns, layout)
        };
        let uuids = file(Column::Fixed(
            "fixed_len_byte_array(16) (UUID)",
            rows.iter().map(|row| Some(bytes(row).to_vec())).collect(),
        ));
        let texts = file(Column::Text(rows.iter().map(|row| Some(text(row))).collect()));
        let by_text = |file: &[u8]| read_mapped("day.parquet", file, &Columns::default().with_text_ids(true));
        prop_assert!(by_text(&uuids).is_ok());
        prop_assert_eq!(by_text(&uuids), by_text(&texts));
        let refused = read("day.parquet", &uuids).unwrap_err().to_string();
        prop_assert!(refused.contains("a UUID where an integer is wanted (hint: --text-ids"), "{}", refused);
        let plain = file(Column::Fixed("fixed_len_byte_array(16)", rows.iter().map(|row| Some(bytes(row).to_vec())).collect()));
        for refused in [read("day.parquet", &plain), by_text(&plain)] {
            let refused = refused.unwrap_err().to_string();
            prop_assert!(refused.contains("its Int128, where an id is wanted (hint: write ids as"), "{}", refused);
        }
    }
}
