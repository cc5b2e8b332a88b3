//! The members of a zip archive, as far as comparing two of them needs: no ZIP64, no encryption.

use std::io::Read;

/// Bytes of one member that are unpacked, at most.
const UNPACKED_MAX: u64 = 64 << 20;
/// Members, at most.
const MEMBERS_MAX: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub name: String,
    /// Date and time as MS-DOS has them, in two seconds.
    pub time: u32,
    method: u16,
    pub crc: u32,
    packed: &'a [u8],
}

impl Member<'_> {
    /// The content, where it can be unpacked.
    pub fn content(&self) -> Option<Vec<u8>> {
        match self.method {
            0 => Some(self.packed.to_vec()),
            8 => {
                let mut content = Vec::new();
                let unpacked = flate2::read::DeflateDecoder::new(self.packed);
                unpacked.take(UNPACKED_MAX).read_to_end(&mut content).ok()?;
                Some(content)
            }
            _ => None,
        }
    }

    /// `2026-11-30 02:15:04`.
    pub fn time_text(&self) -> String {
        let (date, time) = (self.time >> 16, self.time & 0xffff);
        let (year, month, day) = (1980 + (date >> 9), date >> 5 & 15, date & 31);
        let (hour, minute, second) = (time >> 11, time >> 5 & 63, (time & 31) * 2);
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

/// The members in the order of the archive's directory; `None` where it cannot be read.
pub(super) fn members(bytes: &[u8]) -> Option<Vec<Member<'_>>> {
    let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    // The end record is followed by a comment of at most 64 KiB.
    let from = bytes.len().saturating_sub(22 + 0xffff);
    let end = from + bytes.get(from..)?.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let mut at = word(end + 16)? as usize;
    let mut members = Vec::new();
    for _ in 0..half(end + 10)? {
        if members.len() >= MEMBERS_MAX || bytes.get(at..at + 4)? != b"PK\x01\x02" {
            return None;
        }
        let time = u32::from(half(at + 14)?) << 16 | u32::from(half(at + 12)?);
        let (name, extra, comment) = (half(at + 28)?, half(at + 30)?, half(at + 32)?);
        let local = word(at + 42)? as usize;
        let data = local + 30 + usize::from(half(local + 26)?) + usize::from(half(local + 28)?);
        let packed = bytes.get(data..data.checked_add(word(at + 20)? as usize)?)?;
        let end = at + 46 + usize::from(name);
        members.push(Member {
            name: String::from_utf8_lossy(bytes.get(at + 46..end)?).into_owned(),
            time,
            method: half(at + 10)?,
            crc: word(at + 16)?,
            packed,
        });
        at = end + usize::from(extra) + usize::from(comment);
    }
    Some(members)
}
