//! How much memory a column's pages ask for, counted before any is decompressed.

use std::io::{self, Read};
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use parquet::basic::{Compression, Type};
use parquet::file::metadata::ColumnChunkMetaData;

use super::thrift::Compact;

/// Bytes of one page, decompressed: a writer's default is a MiB, and one page for a million rows is 8 MiB.
pub(super) const MAX_PAGE: usize = 1 << 28;

/// Rows taken from a column at a time, so that a file's word for the number of its rows allocates nothing.
const BATCH: usize = 1 << 16;

/// Values that share their beginnings grow when they are put together: this many bytes of a batch's values.
const MAX_BATCH_BYTES: usize = 1 << 29;

/// Bytes of a chunk's largest page, decompressed, by the pages' headers; `None` where a page holds more than its
/// header says. Where the headers end to be such, reading the pages fails as well.
pub(super) fn largest(chunk: &ColumnChunkMetaData, file: &[u8]) -> Option<usize> {
    let Some(Range { start: mut at, end }) = range(chunk) else { return Some(0) };
    let mut largest = 0;
    while at < end.min(file.len()) {
        let mut bytes = Compact::new(&file[at..]);
        let Some(header) = Header::read(&mut bytes) else { break };
        let start = file.len() - bytes.left();
        at = start.saturating_add(header.compressed);
        if header.decompressed <= MAX_PAGE && !header.is_true(chunk.compression(), file.get(start..at)?) {
            return None;
        }
        largest = largest.max(header.decompressed);
    }
    Some(largest)
}

/// What a page's header says of its size.
#[derive(Debug, Clone, Copy, Default)]
struct Header {
    decompressed: usize,
    compressed: usize,
    /// Bytes in front that are never compressed, in pages of the second version.
    levels: usize,
}

impl Header {
    fn read(bytes: &mut Compact<'_>) -> Option<Self> {
        let mut header = Self::default();
        bytes.fields(&mut |parent, id, value| {
            let Some(size) = value.and_then(|value| usize::try_from(value).ok()) else { return };
            match (parent, id) {
                (0, 2) => header.decompressed = size,
                (0, 3) => header.compressed = size,
                (8, 5 | 6) => header.levels = header.levels.saturating_add(size),
                _ => {}
            }
        })?;
        Some(header)
    }

    /// Whether no more comes out of a page than is said. The crate trusts these codecs to end.
    fn is_true(self, codec: Compression, page: &[u8]) -> bool {
        let Some(values) = page.get(self.levels..) else { return false };
        let most = self.decompressed.saturating_sub(self.levels) as u64;
        let mut sink = io::sink();
        let out = match codec {
            Compression::GZIP(_) => io::copy(&mut MultiGzDecoder::new(values).take(most + 1), &mut sink),
            Compression::BROTLI(_) => {
                io::copy(&mut brotli::Decompressor::new(values, BUFFER).take(most + 1), &mut sink)
            }
            // The way of Arrow before 0.15; the other decoders know how much may come out.
            Compression::LZ4 => io::copy(&mut FrameDecoder::new(values).take(most + 1), &mut sink),
            _ => return true,
        };
        // What cannot be decompressed is not: the crate sees that too.
        out.is_err() || out.is_ok_and(|bytes| bytes <= most)
    }
}

/// Bytes that brotli reads at a time.
const BUFFER: usize = 4096;

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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use parquet::basic::GzipLevel;

    use super::*;

    #[test]
    fn no_page_holds_more_than_its_header_says() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&[0; 5000]).unwrap();
        let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
        frame.write_all(&[0; 5000]).unwrap();
        let mut packed = Vec::new();
        brotli::CompressorWriter::new(&mut packed, BUFFER, 5, 20).write_all(&[0; 5000]).unwrap();
        let pages = [
            (Compression::GZIP(GzipLevel::default()), gzip.finish().unwrap()),
            (Compression::LZ4, frame.finish().unwrap()),
            (Compression::BROTLI(Default::default()), packed),
        ];
        for (codec, page) in pages {
            let says = |decompressed, levels| Header { decompressed, compressed: page.len(), levels };
            assert!(says(5000, 0).is_true(codec, &page), "{codec}");
            assert!(!says(4999, 0).is_true(codec, &page), "{codec}");
            // In front of the values of the second version's pages are levels.
            let page = [&[7, 7, 7], &page[..]].concat();
            assert!(says(5003, 3).is_true(codec, &page), "{codec}");
            assert!(!says(5002, 3).is_true(codec, &page), "{codec}");
        }
    }

    #[test]
    fn a_header_is_read_with_what_stands_in_it() {
        // 1: i32 3 (a page of the second version); 2: i32 300; 3: i32 40; 8: {1: i32 9; 5: i32 4; 6: i32 2}
        let bytes = [0x15, 6, 0x15, 0xd8, 4, 0x15, 80, 0x5c, 0x15, 18, 0x45, 8, 0x15, 4, 0, 0, 1, 2];
        let mut compact = Compact::new(&bytes);
        let Header { decompressed, compressed, levels } = Header::read(&mut compact).unwrap();
        assert_eq!((decompressed, compressed, levels, compact.left()), (300, 40, 6, 2));
    }
}
