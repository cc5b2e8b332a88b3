//! `worker score`: a checkpoint applied to a day of transactions, outside of any run.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use parquet::data_type::{DataType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::Failure;
use crate::contract::Exit;
use crate::input::cli::ColumnArgs;
use crate::input::{self, Columns, Transactions};
use crate::workload::fraud::score::{Score, Scorer};

#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// The checkpoint: a file as in output/model_cpt_2018-04-04.ftrl.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Earlier datasets, from which features are computed (repeatable, in any order), or a folder of .parquet, .csv
    /// and .pkl files. Those of the last 44 days matter; without them, every customer is new.
    #[arg(long, value_name = "PATH")]
    history: Vec<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Where to write the scores: Parquet, or CSV where the name ends in .csv.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The dataset to score; labels in it are not needed, and not looked at.
    dataset: PathBuf,
}

pub(crate) fn score(args: &ScoreArgs) -> Result<Exit, Failure> {
    let unreadable = |path: &Path, why: &dyn std::fmt::Display| input_failure(path, why, DATASET_HINT);
    let columns = &args.columns.columns().map_err(|why| Failure::of(Exit::Usage, why))?;
    let before = files(&args.history)?;
    keep_inputs(args, &before)?;
    let checkpoint = read(&args.checkpoint, CHECKPOINT_HINT)?;
    let mut scorer =
        Scorer::new(&checkpoint).map_err(|why| input_failure(&args.checkpoint, why, CHECKPOINT_HINT))?;
    let content = read(&args.dataset, DATASET_HINT)?;
    let transactions = input::read_unlabelled(&name_of(&args.dataset), &content, columns)
        .map_err(|why| unreadable(&args.dataset, &why))?;
    // A dataset that was read has a row.
    let history = history(before, transactions.time[0], &args.dataset, columns)?;
    let remembered = history.len();
    for (path, day) in history {
        scorer.remember(&name_of(&path), day).map_err(|why| unreadable(&path, &why))?;
    }
    let scores = scorer
        .score(&name_of(&args.dataset), transactions.clone())
        .map_err(|why| unreadable(&args.dataset, &why))?;
    let out = args.out.display();
    write(&args.out, &transactions, &scores).map_err(|why| {
        let hint = "make its folder, or free space, or name another file with --out";
        Failure::new(Exit::Volume, format!("write {out}"), why).hint(hint)
    })?;
    let count = scores.len();
    super::print(&format!("scored {count} transactions (datasets of history used: {remembered}): {out}\n"))?;
    Ok(Exit::Finished)
}

fn name_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

const CHECKPOINT_HINT: &str = "give a checkpoint that a run wrote: --checkpoint output/model_cpt_<date>.ftrl";
const DATASET_HINT: &str = "give a day of transactions as Parquet, CSV or the tutorial's pickle";

fn read(path: &Path, hint: &str) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|why| input_failure(path, why, hint))
}

fn input_failure(path: &Path, why: impl std::fmt::Display, hint: &str) -> Failure {
    Failure::new(Exit::Input, format!("read {}", path.display()), why).hint(hint)
}

/// The files given, and those in the folders given that can be datasets.
fn files(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        for entry in fs::read_dir(path).map_err(|why| input_failure(path, why, DATASET_HINT))? {
            let inside = entry.map_err(|why| input_failure(path, why, DATASET_HINT))?.path();
            if inside.is_file() && input::is_dataset(&name_of(&inside)) {
                files.push(inside);
            }
        }
    }
    Ok(files)
}

fn is_same(one: &Path, other: &Path) -> bool {
    one == other
        || one.canonicalize().ok().is_some_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// Refuses to write over what is read.
fn keep_inputs(args: &ScoreArgs, history: &[PathBuf]) -> Result<(), Failure> {
    let mut inputs = [&args.checkpoint, &args.dataset].into_iter().chain(history);
    if inputs.any(|input| is_same(input, &args.out)) {
        let doing = format!("write {}", args.out.display());
        let hint = "name another file with --out, outside of the folders of --history";
        return Err(Failure::new(Exit::Input, doing, "it is one of the files that are read").hint(hint));
    }
    Ok(())
}

/// The datasets within reach of one that begins at `first`, oldest first. `scored`, which may lie among
/// them, is left out, and so is what comes after it.
fn history(
    paths: Vec<PathBuf>,
    first: i64,
    scored: &Path,
    columns: &Columns,
) -> Result<Vec<(PathBuf, Transactions)>, Failure> {
    let mut days = Vec::new();
    for path in paths.into_iter().filter(|path| !is_same(path, scored)) {
        let day = input::read_mapped(&name_of(&path), &read(&path, DATASET_HINT)?, columns)
            .map_err(|why| input_failure(&path, why, DATASET_HINT))?;
        if day.time[0] < first && day.time.last().is_some_and(|last| *last > Scorer::reach(first)) {
            days.push((path, day));
        }
    }
    days.sort_by_key(|(_, day)| day.time[0]);
    Ok(days)
}

fn write(out: &Path, transactions: &Transactions, scores: &[Score]) -> io::Result<()> {
    let file = BufWriter::new(File::create(out)?);
    if out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
        return write_csv(file, transactions, scores);
    }
    write_parquet(file, transactions, scores).map_err(io::Error::other)
}

const NAMES: [&str; 7] = [
    "TRANSACTION_ID",
    "TX_DATETIME",
    "CUSTOMER_ID",
    "TERMINAL_ID",
    "TX_AMOUNT",
    "FRAUD_LOG_ODDS",
    "FRAUD_PROBABILITY",
];

/// Floats as the shortest text that reads back as the same float.
fn write_csv(mut file: impl Write, rows: &Transactions, scores: &[Score]) -> io::Result<()> {
    writeln!(file, "{}", NAMES.join(","))?;
    for (row, score) in scores.iter().enumerate() {
        let time = Timestamp::from_second(rows.time[row]).map_err(io::Error::other)?;
        let (id, customer, terminal) = (rows.id[row], rows.customer[row], rows.terminal[row]);
        let (whole, cents) = (rows.cents[row] / 100, rows.cents[row] % 100);
        let (log_odds, probability) = (score.log_odds, score.probability);
        let time = time.strftime("%Y-%m-%d %H:%M:%S");
        writeln!(file, "{id},{time},{customer},{terminal},{whole}.{cents:02},{log_odds},{probability}")?;
    }
    file.flush()
}

fn write_parquet(
    file: impl Write + Send,
    rows: &Transactions,
    scores: &[Score],
) -> parquet::errors::Result<()> {
    let types = ["int64", "time", "int64", "int64", "double", "double", "double"];
    let field = |(name, kind): (&str, &str)| match kind {
        "time" => format!("required int64 {name} (TIMESTAMP(MICROS, false)); "),
        kind => format!("required {kind} {name}; "),
    };
    let fields: String = NAMES.into_iter().zip(types).map(field).collect();
    let schema = parse_message_type(&format!("message scores {{ {fields} }}"))?;
    let properties = WriterProperties::builder().set_created_by("worker score".to_owned()).build();
    let mut writer = SerializedFileWriter::new(file, schema.into(), properties.into())?;
    let mut group = writer.next_row_group()?;
    let micros: Vec<i64> = rows.time.iter().map(|seconds| seconds * 1_000_000).collect();
    let amounts: Vec<f64> = rows.cents.iter().map(|cents| *cents as f64 / 100.0).collect();
    for integers in [&rows.id, &micros, &rows.customer, &rows.terminal] {
        column::<Int64Type>(&mut group, integers)?;
    }
    column::<DoubleType>(&mut group, &amounts)?;
    column::<DoubleType>(&mut group, &scores.iter().map(|score| score.log_odds).collect::<Vec<_>>())?;
    column::<DoubleType>(&mut group, &scores.iter().map(|score| score.probability).collect::<Vec<_>>())?;
    group.close()?;
    writer.close()?;
    Ok(())
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    values: &[T::T],
) -> parquet::errors::Result<()> {
    if let Some(mut chunk) = group.next_column()? {
        chunk.typed::<T>().write_batch(values, None, None)?;
        chunk.close()?;
    }
    Ok(())
}
