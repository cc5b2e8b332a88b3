//! How much memory a column's pages ask for, counted before any is decompressed.

use std::ops::Range;

use parquet::basic::{Compression, Type};
use parquet::file::metadata::ColumnChunkMetaData;

use super::thrift::Compact;

/// Bytes of one page, decompressed: a writer's default is a MiB, and one page for a million rows is 8 MiB.
pub(super) const MAX_PAGE: usize = 1 << 28;

/// Rows taken from a column at a time, so that a file's word for the number of its rows allocates nothing.
const BATCH: usize = 1 << 16;

/// Values that share their beginnings grow when they are put together: this many bytes of a batch's values.
const MAX_BATCH_BYTES: usize = 1 << 29;

/// Bytes of a chunk's largest page, decompressed, by the pages' headers. Where these end to be such, reading
/// the pages fails as well.
pub(super) fn largest(chunk: &ColumnChunkMetaData, file: &[u8]) -> usize {
    let Some(Range { start: mut at, end }) = range(chunk) else { return 0 };
    let mut largest = 0;
    while at < end.min(file.len()) {
        let mut header = Compact::new(&file[at..]);
        let (mut decompressed, mut compressed) = (0, 0);
        let read =
            header.fields(&mut |id, value| match (id, value.and_then(|value| usize::try_from(value).ok())) {
                (2, Some(size)) => decompressed = size,
                (3, Some(size)) => compressed = size,
                _ => {}
            });
        if read.is_none() {
            break;
        }
        largest = largest.max(decompressed);
        at = (file.len() - header.left()).saturating_add(compressed);
    }
    largest
}

/// How many rows of a chunk are read at a time, whose largest page is so large.
pub(super) fn batch(chunk: &ColumnChunkMetaData, largest: usize) -> usize {
    match chunk.column_type() {
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => (MAX_BATCH_BYTES / largest.max(1)).clamp(1, BATCH),
        _ => BATCH,
    }
}

/// Where a chunk's bytes are.
fn range(chunk: &ColumnChunkMetaData) -> Option<Range<usize>> {
    let offset = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(usize::try_from(chunk.compressed_size()).ok()?)?)
}

/// The name of a codec that is not read.
pub(super) fn unread_codec(codec: Compression) -> Option<&'static str> {
    match codec {
        Compression::LZO => Some("LZO"),
        _ => None,
    }
}
