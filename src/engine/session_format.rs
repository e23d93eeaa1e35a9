//! Format of saved sessions. A session is, in little-endian order: eight bytes `TABLMSES`; the
//! version and the length of the header (u32 each); the [`Header`] as JSON; the tokens (u32); the
//! words of each section of the header; the XXH64 of all bytes before (u64).

use std::ops::Range;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::state::{StateBuffer, StateLayout};
use crate::error::{Error, Result, mismatch};
use crate::kernels::{CacheFormat, CacheRows};
use crate::plan::StateKind;
use crate::weights::source::ByteSource;

const MAGIC: [u8; 8] = *b"TABLMSES";
const VERSION: u32 = 1;
/// Bytes before the header.
const START: usize = MAGIC.len() + 8;
const HASH_BYTES: u64 = 8;
/// Most bytes of a header.
const MAX_HEADER_BYTES: usize = 4 << 20;
/// Words that are copied at a time.
pub(super) const PIECE_WORDS: u64 = 1 << 20;

/// Description of a session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Fingerprint of the model.
    pub(super) model: String,
    /// Name of the model's file, for messages.
    pub(super) name: String,
    /// Number of tokens.
    pub(super) tokens: u32,
    /// Length of the prompt of the last request.
    pub(super) prompt: u32,
    /// Tokens of each snapshot, in ascending order.
    pub(super) snapshots: Vec<u32>,
    /// State, one section after another.
    pub(super) sections: Vec<Section>,
    /// Offset of the tokens, behind the header.
    #[serde(skip)]
    pub(super) end: u64,
}

/// State of a layer, of the sequence or of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    /// Name of the state.
    pub(super) name: String,
    /// Index of the snapshot; none for the sequence itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) snapshot: Option<u32>,
    /// Rows of a cache; none for recurrent state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rows: Option<SectionRows>,
    /// Words.
    pub(super) words: u64,
}

/// Rows of a cache in a section, one for each position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SectionRows {
    pub(super) format: CacheFormat,
    /// Elements of a row.
    pub(super) width: u32,
    /// Position of the first row.
    pub(super) first: u32,
    /// Number of rows.
    pub(super) count: u32,
}

impl Section {
    /// The state of a buffer: all of a recurrent state, or the rows of some positions, in
    /// `kv_format` or else in the format of the cache.
    pub(super) fn of(
        buffer: &StateBuffer,
        snapshot: Option<u32>,
        positions: &Range<u32>,
        kv_format: Option<CacheFormat>,
    ) -> Self {
        let name = buffer.name.clone();
        match buffer.kind {
            StateKind::Recurrent => Self { name, snapshot, rows: None, words: buffer.words },
            StateKind::Positions(cache) => {
                let (first, count) = (positions.start, positions.end - positions.start);
                let (format, width) = (kv_format.unwrap_or(cache.format), cache.width);
                let rows = SectionRows { format, width, first, count };
                let words = u64::from(count) * rows.stored().words();
                Self { name, snapshot, rows: Some(rows), words }
            }
        }
    }
}

impl SectionRows {
    /// The rows, one for each position.
    pub(super) fn stored(self) -> CacheRows {
        CacheRows { format: self.format, width: self.width, ring: None }
    }
}

impl Header {
    /// Reads a header, and checks that the size of the session is what it states.
    pub(super) async fn read(source: &dyn ByteSource) -> Result<Self> {
        let malformed =
            |field: &str, message: String| Error::malformed(source.name(), field, message);
        let size = source.size_bytes();
        if size < START as u64 + HASH_BYTES {
            return Err(malformed("size", mismatch(format!("{size} bytes"), "a session")));
        }
        let start = source.read(0, START).await?;
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| start[at + byte]));
        if start[..MAGIC.len()] != MAGIC {
            return Err(malformed("start", mismatch("other bytes", "a session of TabLM")));
        }
        if word(8) != VERSION {
            let expected = format!("{VERSION}, or a newer TabLM");
            let version = word(8);
            return Err(Error::unsupported_value(source.name(), "version", version, expected));
        }
        let json_bytes = word(12) as usize;
        if json_bytes > MAX_HEADER_BYTES {
            let expected = format!("at most {MAX_HEADER_BYTES}");
            return Err(malformed("header", mismatch(format!("{json_bytes} bytes"), expected)));
        }
        let json = source.read(START as u64, json_bytes).await?;
        let json = String::from_utf8(json)
            .map_err(|_| malformed("header", mismatch("other bytes", "UTF-8")))?;
        let mut header: Header =
            serde_json::from_str(&json).map_err(|error| malformed("header", error.to_string()))?;
        header.end = (START + json_bytes) as u64;
        let expected = header.content_bytes().saturating_add(header.end + HASH_BYTES);
        if size != expected {
            let (found, expected) = (format!("{size} bytes"), format!("{expected}"));
            return Err(malformed("size", mismatch(found, expected)));
        }
        Ok(header)
    }

    /// Bytes of a session before its tokens.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_string(self);
        let json = json.map_err(|error| Error::internal(format!("session: {error}")))?;
        let words = [VERSION, json.len() as u32].map(u32::to_le_bytes).concat();
        Ok([&MAGIC[..], &words, json.as_bytes()].concat())
    }

    /// Tokens of a snapshot, or of the sequence.
    pub(super) fn length(&self, snapshot: Option<u32>) -> usize {
        snapshot.map_or(self.tokens, |number| self.snapshots[number as usize]) as usize
    }

    /// Bytes of the tokens and of all sections.
    pub(super) fn content_bytes(&self) -> u64 {
        let words = self.sections.iter().map(|section| section.words);
        words.fold(u64::from(self.tokens), u64::saturating_add).saturating_mul(4)
    }
}

/// Compares the hash at the end of a session with that of all other bytes.
pub(super) async fn check_hash(source: &dyn ByteSource) -> Result<()> {
    let mut hash = Xxh64::new(0);
    let end = source.size_bytes() - HASH_BYTES;
    let mut offset = 0;
    while offset < end {
        let length = (end - offset).min(PIECE_WORDS * 4);
        hash.update(&source.read(offset, length as usize).await?);
        offset += length;
    }
    if source.read(end, HASH_BYTES as usize).await? == hash.digest().to_le_bytes() {
        return Ok(());
    }
    let message = mismatch("another", "that of the bytes before it");
    Err(Error::malformed(source.name(), "checksum", message))
}

/// Positions before `length` whose rows a cache holds after a sequence has reached `reached`.
pub(super) fn held_positions(kind: StateKind, length: usize, reached: usize) -> Range<u32> {
    let oldest = match kind {
        StateKind::Positions(CacheRows { ring: Some(ring), .. }) => {
            reached.saturating_sub(ring.length as usize)
        }
        _ => 0,
    };
    oldest as u32..length as u32
}

/// Position that the sequence of a session, or a snapshot of it, had reached, by the rows that its
/// rings hold.
pub(super) fn reached(header: &Header, buffers: &[&StateBuffer], snapshot: Option<u32>) -> usize {
    let sections = header.sections.iter().zip(buffers);
    let of_snapshot = sections.filter(|(section, _)| section.snapshot == snapshot);
    let reached = of_snapshot.map(|(section, buffer)| match (buffer.kind, section.rows) {
        (StateKind::Positions(CacheRows { ring: Some(ring), .. }), Some(rows))
            if rows.first > 0 =>
        {
            rows.first as usize + ring.length as usize
        }
        _ => 0,
    });
    reached.fold(header.length(snapshot), usize::max)
}

/// Checks the sections of a session: the state of every layer, in the order of the layout, and then
/// that of each snapshot. Returns the buffer of each section.
///
/// # Errors
/// `malformed`, which names the field.
pub(super) fn checked_buffers<'a>(
    file: &str,
    header: &Header,
    layout: &'a StateLayout,
) -> Result<Vec<&'a StateBuffer>> {
    buffers_of(header, layout).map_err(|(field, found)| {
        Error::malformed_value(file, &field, found, "the state of this model")
    })
}

/// [`checked_buffers`], or the field and what was found.
fn buffers_of<'a>(
    header: &Header,
    layout: &'a StateLayout,
) -> std::result::Result<Vec<&'a StateBuffer>, (String, &'static str)> {
    let lengths = &header.snapshots;
    if !lengths.is_sorted_by(|a, b| a < b) || lengths.last().is_some_and(|it| *it > header.tokens) {
        return Err(("snapshots".to_owned(), "lengths that are not in order"));
    }
    let mut buffers = Vec::new();
    let mut places = Vec::new();
    for section in &header.sections {
        let wrong = |found| (section.name.clone(), found);
        let (place, buffer) = layout.named(&section.name).ok_or_else(|| wrong("unknown state"))?;
        let length = match section.snapshot {
            None => Some(&header.tokens),
            Some(number) => lengths.get(number as usize),
        };
        let length = length.ok_or_else(|| wrong("a snapshot without length"))?;
        check_section(section, buffer, *length).map_err(wrong)?;
        places.push((section.snapshot, place));
        buffers.push(buffer);
    }
    let of_sequence = places.iter().filter(|(snapshot, _)| snapshot.is_none()).count();
    if !places.is_sorted_by(|a, b| a < b) || of_sequence != layout.buffers().len() {
        return Err(("sections".to_owned(), "another order, or too few"));
    }
    Ok(buffers)
}

/// Checks that a section can be the state of a buffer after `length` tokens, or returns what was
/// found.
fn check_section(
    section: &Section,
    buffer: &StateBuffer,
    length: u32,
) -> std::result::Result<(), &'static str> {
    match (buffer.kind, section.rows) {
        (StateKind::Recurrent, None) if section.words == buffer.words => Ok(()),
        (StateKind::Positions(cache), Some(rows)) => {
            // A row at `length` sees the positions of its window.
            let oldest = cache.ring.map_or(0, |ring| (length + 1).saturating_sub(ring.window));
            if rows.width != cache.width {
                Err("rows of another width")
            } else if rows.first.checked_add(rows.count) != Some(length) || rows.first > oldest {
                Err("rows of other positions")
            } else if u64::from(rows.count) * rows.stored().words() != section.words {
                Err("another number of words")
            } else {
                Ok(())
            }
        }
        _ => Err("state of another kind"),
    }
}

/// Rows in another format.
pub(super) fn converted(from: CacheRows, to: CacheRows, words: &[f32]) -> Vec<f32> {
    let elements = from.decode(words);
    let width = from.width as usize;
    let mut rows = vec![0.0; elements.len() / width * to.words() as usize];
    for (row, elements) in elements.chunks_exact(width).enumerate() {
        to.write(&mut rows, row, elements);
    }
    rows
}
