//! Why a pickle is not read: what the report tells.

/// Why a pickle is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the pickle asks for `{name}` at byte {offset}: refused, nothing was executed")]
    Global { name: String, offset: usize },
    #[error(
        "the pickle uses the opcode {name} at byte {offset}, which no DataFrame of numbers needs: refused, \
         nothing was executed"
    )]
    Opcode { name: &'static str, offset: usize },
    #[error("the pickle is written in protocol {0}, which is not supported (hint: protocols 2 to 5 are)")]
    Protocol(u8),
    #[error(
        "the pickle is written in protocol {0}, which is not supported (hint: leave `protocol` out of `to_pickle`; \
         2 to 5 are read)"
    )]
    OldProtocol(&'static str),
    #[error(
        "the pickle's column {name} is {what}, which is not read (hint: turn it into numbers or times with `astype`, \
         or write Parquet)"
    )]
    Column { name: String, what: &'static str },
    #[error(
        "the pickle is joblib's, with arrays that no pickle has (hint: write it with `to_pickle`, or write Parquet)"
    )]
    Joblib,
    #[error("the pickle is cut off: byte {offset} begins what the file does not hold")]
    Cut { offset: usize },
    #[error("the pickle is damaged at byte {offset}: {what}")]
    Damaged { offset: usize, what: &'static str },
    #[error("the pickle has more than {limit} {what}, too many for one dataset")]
    TooLarge { what: &'static str, limit: usize },
    #[error("the pickle is not a DataFrame of numbers as pandas writes it: {0}")]
    NotAFrame(&'static str),
}
