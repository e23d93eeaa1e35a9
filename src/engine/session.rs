//! Saved sessions: a sequence with its state and snapshots as bytes, which another load of the same
//! model continues from, on any executor.
//!
//! A session is, in little-endian order: [`MAGIC`]; the version and the length of the header (u32
//! each); the [`Header`] as JSON; the tokens (u32); the words of each section of the header; the
//! XXH64 of all bytes before (u64).

use std::ops::Range;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::Engine;
use super::state::{StateBuffer, StateLayout, StatePart};
use crate::error::{Code, Error, Result, mismatch};
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
const PIECE_WORDS: u64 = 1 << 20;

/// Description of a session.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Fingerprint of the model.
    model: String,
    /// Name of the model's file, for messages.
    name: String,
    /// Number of tokens.
    tokens: u32,
    /// Tokens of each snapshot, in ascending order.
    snapshots: Vec<u32>,
    /// State, one section after another.
    sections: Vec<Section>,
}

/// State of a layer, of the sequence or of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    /// Name of the state.
    name: String,
    /// Index of the snapshot; none for the sequence itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    snapshot: Option<u32>,
    /// Rows of a cache; none for recurrent state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rows: Option<SectionRows>,
    /// Words.
    words: u64,
}

/// Rows of a cache in a section, one for each position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SectionRows {
    format: CacheFormat,
    /// Elements of a row.
    width: u32,
    /// Position of the first row.
    first: u32,
    /// Number of rows.
    count: u32,
}

impl Section {
    /// The state of a buffer: all of a recurrent state, or the rows of some positions.
    fn of(buffer: &StateBuffer, snapshot: Option<u32>, positions: &Range<u32>) -> Self {
        let name = buffer.name.clone();
        match buffer.kind {
            StateKind::Recurrent => Self { name, snapshot, rows: None, words: buffer.words },
            StateKind::Positions(cache) => {
                let (first, count) = (positions.start, positions.end - positions.start);
                let CacheRows { format, width, .. } = cache;
                let rows = Some(SectionRows { format, width, first, count });
                Self { name, snapshot, rows, words: u64::from(count) * cache.words() }
            }
        }
    }
}

/// A part of a buffer and the words of a section that it holds.
struct Piece {
    /// Positions of a cache's rows, or words of a recurrent state, in the section.
    range: Range<u64>,
    parts: Vec<StatePart>,
}

/// Pieces of a buffer of shared index `index` that hold a section, in the order of the section.
fn pieces(kind: StateKind, index: usize, section: &Section) -> Vec<Piece> {
    let (StateKind::Positions(cache), Some(rows)) = (kind, section.rows) else {
        let starts = (0..section.words).step_by(PIECE_WORDS as usize);
        let ranges = starts.map(|start| start..section.words.min(start + PIECE_WORDS));
        return ranges.map(|range| Piece { parts: vec![(index, range.clone())], range }).collect();
    };
    let step = (PIECE_WORDS / cache.words().max(1)).max(1) as u32;
    let end = rows.first + rows.count;
    // A shorter ring holds the last rows only.
    let first =
        cache.ring.map_or(rows.first, |ring| rows.first.max(end.saturating_sub(ring.length)));
    let starts = (first..end).step_by(step as usize);
    let piece = |start: u32| {
        let positions = start..end.min(start + step);
        let words = |row: u32| u64::from(row) * cache.words();
        let parts = cache.rows_of(positions.clone()).into_iter().filter(|rows| !rows.is_empty());
        let parts = parts.map(|rows| (index, words(rows.start)..words(rows.end)));
        let range = u64::from(start - rows.first)..u64::from(positions.end - rows.first);
        Piece { range, parts: parts.collect() }
    };
    starts.map(piece).collect()
}

/// Writes and hashes.
struct Output<'a> {
    write: &'a mut dyn FnMut(&[u8]) -> Result<()>,
    hash: Xxh64,
}

impl Output<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        (self.write)(bytes)
    }
}

impl Engine {
    /// Writes the conversation as a session, whose bytes `write` receives part by part.
    ///
    /// # Errors
    /// `invalid-request` if there is none, or if a request runs; errors of the device and of
    /// `write`.
    pub async fn save_session(&mut self, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.check_idle("save")?;
        self.sequence.settle(&mut self.executor);
        let tokens = self.sequence.tokens().to_vec();
        if tokens.is_empty() {
            return Err(Error::invalid_request("session", "found no conversation, expected one"));
        }
        let (layout, reached) = (self.sequence.layout(), self.sequence.reached());
        let snapshots = self.sequence.snapshots().taken();
        let mut sections = Vec::new();
        // Kind and index of the buffer of each section, and the set of its snapshot.
        let mut sources = Vec::new();
        for buffer in layout.buffers() {
            let positions = held_positions(buffer.kind, tokens.len(), reached);
            sections.push(Section::of(buffer, None, &positions));
            sources.push((buffer.kind, buffer.index, None));
        }
        for (number, (set, copies, taken)) in (0..).zip(&snapshots) {
            for (state, copy) in *copies {
                let Some(buffer) = layout.buffer(*state) else { continue };
                let positions = held_positions(buffer.kind, taken.length, taken.reached);
                sections.push(Section::of(buffer, Some(number), &positions));
                sources.push((buffer.kind, *copy, Some(*set)));
            }
        }
        let header = Header {
            model: self.fingerprint.clone(),
            name: self.name.clone(),
            tokens: tokens.len() as u32,
            snapshots: snapshots.iter().map(|(_, _, taken)| taken.length as u32).collect(),
            sections,
        };
        let json = serde_json::to_vec(&header);
        let json = json.map_err(|error| Error::internal(format!("session: {error}")))?;
        let mut output = Output { write, hash: Xxh64::new(0) };
        output.push(&MAGIC)?;
        output.push(&VERSION.to_le_bytes())?;
        output.push(&(json.len() as u32).to_le_bytes())?;
        output.push(&json)?;
        output.push(bytemuck::cast_slice(&tokens))?;
        for (section, (kind, index, set)) in header.sections.iter().zip(sources) {
            for piece in pieces(kind, index, section) {
                let words = self.executor.read_saved(&piece.parts, set).await?;
                output.push(bytemuck::cast_slice(&words))?;
            }
        }
        let hash = output.hash.digest();
        (output.write)(&hash.to_le_bytes())
    }

    /// Continues from a saved session: its conversation takes the place of the present one. Returns
    /// the number of tokens.
    ///
    /// # Errors
    /// `malformed` for a session that is cut off or changed; `unsupported-format` for a later
    /// version; `invalid-request` for one of another model, or if a request runs; `context-full` if
    /// it is longer than the context. The session is checked first: only errors of the device, and
    /// of a source that changes meanwhile, leave no conversation.
    pub async fn restore_session(&mut self, source: &dyn ByteSource) -> Result<usize> {
        self.check_idle("restore")?;
        let (header, at) = self.checked_header(source).await?;
        let tokens = self.checked_tokens(source, &header, at).await?;
        let layout = self.sequence.layout().clone();
        let buffers = checked_buffers(&header, &layout).map_err(|(field, found)| {
            Error::malformed_value(source.name(), &field, found, "the state of this model")
        })?;
        self.reset();
        let length = tokens.len();
        let restored = self.restore_checked(source, &header, at, tokens, &buffers).await;
        if restored.is_err() {
            self.reset();
        }
        restored.map(|()| length)
    }

    fn check_idle(&self, action: &str) -> Result<()> {
        match &self.running {
            Some(running) if running.finish_reason.is_none() => {
                Err(Error::invalid_request(action, "found a running request, expected none"))
            }
            _ => Ok(()),
        }
    }

    /// Reads the header and checks all bytes; returns it with the offset of the tokens.
    async fn checked_header(&self, source: &dyn ByteSource) -> Result<(Header, u64)> {
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
        let header: Header = serde_json::from_slice(&json)
            .map_err(|error| malformed("header", error.to_string()))?;
        let at = (START + json_bytes) as u64;
        let words = header
            .sections
            .iter()
            .fold(u64::from(header.tokens), |sum, section| sum.saturating_add(section.words));
        let expected = words.saturating_mul(4).saturating_add(at + HASH_BYTES);
        if size != expected {
            let (found, expected) = (format!("{size} bytes"), format!("{expected}"));
            return Err(malformed("size", mismatch(found, expected)));
        }
        if header.model != self.fingerprint {
            let found = format!("a session of {} ({})", header.name, header.model);
            let expected = format!("one of {} ({})", self.name, self.fingerprint);
            return Err(Error::invalid_value("session", found, expected));
        }
        if header.tokens > self.context_length {
            let message = format!(
                "session: found {} tokens, expected at most {}, the context length",
                header.tokens, self.context_length
            );
            return Err(Error::new(Code::ContextFull, message));
        }
        let mut hash = Xxh64::new(0);
        let end = size - HASH_BYTES;
        let mut offset = 0;
        while offset < end {
            let length = (end - offset).min(PIECE_WORDS * 4);
            hash.update(&source.read(offset, length as usize).await?);
            offset += length;
        }
        if source.read(end, HASH_BYTES as usize).await? != hash.digest().to_le_bytes() {
            return Err(malformed("checksum", mismatch("another", "that of the bytes before it")));
        }
        Ok((header, at))
    }

    /// Reads and checks the tokens, which are at byte `at`.
    async fn checked_tokens(
        &self,
        source: &dyn ByteSource,
        header: &Header,
        at: u64,
    ) -> Result<Vec<u32>> {
        let bytes = source.read(at, 4 * header.tokens as usize).await?;
        let tokens = bytes.chunks_exact(4);
        let tokens: Vec<u32> =
            tokens.map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect();
        self.check_tokens(&tokens)?;
        Ok(tokens)
    }

    /// Writes the state of a checked session, whose sections belong to these buffers.
    async fn restore_checked(
        &mut self,
        source: &dyn ByteSource,
        header: &Header,
        at: u64,
        tokens: Vec<u32>,
        buffers: &[&StateBuffer],
    ) -> Result<()> {
        let sections = || header.sections.iter().zip(buffers);
        let reached = |snapshot: Option<u32>, length: usize| {
            let of = sections().filter(|(section, _)| section.snapshot == snapshot);
            of.map(|(section, buffer)| reached(section, buffer)).fold(length, usize::max)
        };
        let all = reached(None, tokens.len());
        let snapshots = self.sequence.restore(tokens, all);
        // The shortest first. A later one may take the place of an earlier one.
        for (number, length) in (0..).zip(&header.snapshots) {
            let copied = sections().filter(|(section, _)| section.snapshot == Some(number));
            let copied: Vec<_> = copied.map(|(_, buffer)| buffer.index).collect();
            let length = *length as usize;
            snapshots.take_restored(&copied, length, reached(Some(number), length));
        }
        self.executor.begin_restore(header.tokens, self.sequence.snapshot_capacity());
        let mut at = at + 4 * u64::from(header.tokens);
        for (section, buffer) in sections() {
            let index = match section.snapshot {
                None => Some(buffer.index),
                Some(number) => {
                    let length = header.snapshots[number as usize] as usize;
                    self.sequence.snapshots().copy_of(length, buffer.index)
                }
            };
            if let Some(index) = index {
                self.restore_section(source, at, section, buffer.kind, index).await?;
                self.executor.flush().await?;
            }
            at += section.words * 4;
        }
        Ok(())
    }

    /// Writes a section, converted where the format of the cache differs, to a shared buffer.
    async fn restore_section(
        &mut self,
        source: &dyn ByteSource,
        at: u64,
        section: &Section,
        kind: StateKind,
        index: usize,
    ) -> Result<()> {
        let stored = section.rows.map(|rows| CacheRows {
            format: rows.format,
            width: rows.width,
            ring: None,
        });
        let row_words = stored.map_or(1, CacheRows::words);
        for piece in pieces(kind, index, section) {
            let offset = at + piece.range.start * row_words * 4;
            let length = (piece.range.end - piece.range.start) * row_words * 4;
            let bytes = source.read(offset, length as usize).await?;
            let mut words: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
            if let (Some(stored), StateKind::Positions(held)) = (stored, kind)
                && stored.format != held.format
            {
                words = converted(stored, held, &words);
            }
            let mut rest = &words[..];
            for (index, range) in piece.parts {
                let (part, others) = rest.split_at((range.end - range.start) as usize);
                self.executor.write_shared(index, range.start, part);
                rest = others;
            }
        }
        Ok(())
    }
}

/// Positions before `length` whose rows a cache holds after a sequence has reached `reached`.
fn held_positions(kind: StateKind, length: usize, reached: usize) -> Range<u32> {
    let oldest = match kind {
        StateKind::Positions(CacheRows { ring: Some(ring), .. }) => {
            reached.saturating_sub(ring.length as usize)
        }
        _ => 0,
    };
    oldest as u32..length as u32
}

/// Position that a sequence had reached if a ring holds no older rows than a section.
fn reached(section: &Section, buffer: &StateBuffer) -> usize {
    match (buffer.kind, section.rows) {
        (StateKind::Positions(CacheRows { ring: Some(ring), .. }), Some(rows))
            if rows.first > 0 =>
        {
            rows.first as usize + ring.length as usize
        }
        _ => 0,
    }
}

/// Checks the sections of a session: the state of every layer, in the order of the layout, and then
/// that of each snapshot. Returns the buffer of each section, or the field and what was found.
fn checked_buffers<'a>(
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
            let stored = CacheRows { format: rows.format, width: rows.width, ring: None };
            // A row at `length` sees the positions of its window.
            let oldest = cache.ring.map_or(0, |ring| (length + 1).saturating_sub(ring.window));
            if rows.width != cache.width {
                Err("rows of another width")
            } else if rows.first.checked_add(rows.count) != Some(length) || rows.first > oldest {
                Err("rows of other positions")
            } else if u64::from(rows.count) * stored.words() != section.words {
                Err("another number of words")
            } else {
                Ok(())
            }
        }
        _ => Err("state of another kind"),
    }
}

/// Rows in another format.
fn converted(from: CacheRows, to: CacheRows, words: &[f32]) -> Vec<f32> {
    let elements = from.decode(words);
    let width = from.width as usize;
    let mut rows = vec![0.0; elements.len() / width * to.words() as usize];
    for (row, elements) in elements.chunks_exact(width).enumerate() {
        to.write(&mut rows, row, elements);
    }
    rows
}
