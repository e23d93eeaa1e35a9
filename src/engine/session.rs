//! Saved sessions: a sequence with its state and snapshots as bytes, which another load of the same
//! model continues from, on any executor. `session_format` has the format.

use std::ops::Range;

use serde::Serialize;
use xxhash_rust::xxh64::Xxh64;

use super::Engine;
use super::session_format::{
    Header, PIECE_WORDS, Section, SectionRows, check_hash, checked_buffers, converted,
    held_positions, reached,
};
use super::state::{StateBuffer, StatePart};
use crate::error::{Code, Error, Result};
use crate::kernels::{CacheFormat, CacheRows};
use crate::plan::StateKind;
use crate::weights::source::ByteSource;

/// Description of a saved session.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct SessionReport {
    /// Name of the model's file.
    pub model: String,
    /// Number of tokens.
    pub tokens: u32,
    /// Reason why the loaded model cannot continue from it.
    pub problem: Option<String>,
}

/// Place from which a section is read.
pub(super) struct SectionSource {
    kind: StateKind,
    /// Index of the shared buffer.
    index: usize,
    /// Set of the snapshot; none for the sequence itself.
    set: Option<usize>,
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
    /// Writes the conversation as a session, whose bytes `write` receives part by part. Keys and
    /// values are stored in `kv_format`, by default in that of the cache; `q8` takes about half the
    /// bytes of f16, and rounds.
    ///
    /// # Errors
    /// `invalid-request` if there is none, or if a request runs; errors of the device and of
    /// `write`.
    pub async fn save_session(
        &mut self,
        kv_format: Option<CacheFormat>,
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.check_idle("save")?;
        self.sequence.settle(&mut self.executor);
        let (header, sources) = self.session_parts(kv_format);
        if header.tokens == 0 {
            return Err(Error::invalid_request("session", "found no conversation, expected one"));
        }
        self.write_session(&header, &sources, write).await
    }

    /// The header of a session of the sequence, and the source of each of its sections.
    pub(super) fn session_parts(
        &self,
        kv_format: Option<CacheFormat>,
    ) -> (Header, Vec<SectionSource>) {
        let (layout, reached) = (self.sequence.layout(), self.sequence.reached());
        let snapshots = self.sequence.snapshots().taken();
        let (mut sections, mut sources) = (Vec::new(), Vec::new());
        for buffer in layout.buffers() {
            let positions = held_positions(buffer.kind, self.sequence.len(), reached);
            sections.push(Section::of(buffer, None, &positions, kv_format));
            sources.push(SectionSource { kind: buffer.kind, index: buffer.index, set: None });
        }
        for (number, (set, copies, taken)) in (0..).zip(&snapshots) {
            for (state, copy) in *copies {
                let Some(buffer) = layout.buffer(*state) else { continue };
                let positions = held_positions(buffer.kind, taken.length, taken.reached);
                sections.push(Section::of(buffer, Some(number), &positions, kv_format));
                sources.push(SectionSource { kind: buffer.kind, index: *copy, set: Some(*set) });
            }
        }
        let header = Header {
            model: self.fingerprint.clone(),
            name: self.name.clone(),
            tokens: self.sequence.len() as u32,
            prompt: self.sequence.prompt_length() as u32,
            snapshots: snapshots.iter().map(|(_, _, taken)| taken.length as u32).collect(),
            sections,
            end: 0,
        };
        (header, sources)
    }

    /// Writes a session of the sequence, which has ended its steps.
    pub(super) async fn write_session(
        &mut self,
        header: &Header,
        sources: &[SectionSource],
        write: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut output = Output { write, hash: Xxh64::new(0) };
        output.push(&header.to_bytes()?)?;
        output.push(bytemuck::cast_slice(self.sequence.tokens()))?;
        for (section, source) in header.sections.iter().zip(sources) {
            for piece in pieces(source.kind, source.index, section) {
                let mut words = self.executor.read_saved(&piece.parts, source.set).await?;
                if let (StateKind::Positions(held), Some(rows)) = (source.kind, section.rows)
                    && rows.format != held.format
                {
                    words = converted(held, rows.stored(), &words);
                }
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
        self.restore_before(source, usize::MAX).await
    }

    /// [`Self::restore_session`] for a sequence that will go back to at most `most` tokens: if
    /// there is no room for all snapshots, those that it can go back to come before the others.
    pub(super) async fn restore_before(
        &mut self,
        source: &dyn ByteSource,
        most: usize,
    ) -> Result<usize> {
        self.check_idle("restore")?;
        let (header, tokens) = self.check_session(source).await?;
        let layout = self.sequence.layout().clone();
        let buffers = checked_buffers(source.name(), &header, &layout)?;
        self.reset();
        let length = tokens.len();
        let restored = self.restore_checked(source, &header, tokens, &buffers, most).await;
        if restored.is_err() {
            self.reset();
        }
        restored.map(|()| length)
    }

    /// Checks all of a session; returns its header and its tokens.
    pub(super) async fn check_session(
        &self,
        source: &dyn ByteSource,
    ) -> Result<(Header, Vec<u32>)> {
        let header = Header::read(source).await?;
        self.check_header(&header)?;
        check_hash(source).await?;
        checked_buffers(source.name(), &header, self.sequence.layout())?;
        let tokens = self.checked_tokens(source, &header).await?;
        Ok((header, tokens))
    }

    /// Describes a saved session by its header; the rest is not read.
    ///
    /// # Errors
    /// `malformed` for a session that is cut off, or whose header is changed; `unsupported-format`
    /// for a later version.
    pub async fn describe_session(&self, source: &dyn ByteSource) -> Result<SessionReport> {
        let header = Header::read(source).await?;
        let problem = self.check_header(&header).err();
        let problem = problem.map(|error| error.message().to_owned());
        Ok(SessionReport { model: header.name, tokens: header.tokens, problem })
    }

    /// Checks that a session is of this model, and that the context is long enough for it.
    fn check_header(&self, header: &Header) -> Result<()> {
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
        Ok(())
    }

    fn check_idle(&self, action: &str) -> Result<()> {
        match &self.running {
            Some(running) if running.finish_reason.is_none() => {
                Err(Error::invalid_request(action, "found a running request, expected none"))
            }
            _ => Ok(()),
        }
    }

    /// Reads and checks the tokens.
    async fn checked_tokens(&self, source: &dyn ByteSource, header: &Header) -> Result<Vec<u32>> {
        let bytes = source.read(header.end, 4 * header.tokens as usize).await?;
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
        tokens: Vec<u32>,
        buffers: &[&StateBuffer],
        most: usize,
    ) -> Result<()> {
        let sections = || header.sections.iter().zip(buffers);
        let reached = |snapshot| reached(header, buffers, snapshot);
        let snapshots = self.sequence.restore(tokens, reached(None), header.prompt as usize);
        // A later one may take the place of an earlier one.
        let mut numbers: Vec<u32> = (0..header.snapshots.len() as u32).collect();
        numbers.sort_by_key(|number| header.length(Some(*number)) <= most);
        for number in numbers {
            let copied = sections().filter(|(section, _)| section.snapshot == Some(number));
            let copied: Vec<_> = copied.map(|(_, buffer)| buffer.index).collect();
            let number = Some(number);
            snapshots.take_restored(&copied, header.length(number), reached(number));
        }
        self.executor.begin_restore(header.tokens, self.sequence.snapshot_capacity());
        let mut at = header.end + 4 * u64::from(header.tokens);
        for (section, buffer) in sections() {
            let index = match section.snapshot {
                None => Some(buffer.index),
                number => {
                    let length = header.length(number);
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
        let stored = section.rows.map(SectionRows::stored);
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
