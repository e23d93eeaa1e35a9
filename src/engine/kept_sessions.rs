//! Kept sessions: conversations whose place another one has taken, saved outside of the executor.
//! A request continues the one that it has most in common with.

use std::rc::Rc;

use super::Engine;
use super::sequence::Sequence;
use super::session_format::{Header, PIECE_WORDS, checked_buffers, reached};
use super::session_store::{ProgramMemory, SessionStore};
use super::state::{StateLayout, common_length};
use crate::error::Result;
use crate::weights::source::ByteSource;

/// Default of [`super::LoadOptions::session_bytes`].
const DEFAULT_SESSION_BYTES: u64 = 256 << 20;
/// Least tokens that are worth saving or restoring a session: fewer are soon read again.
const MIN_TOKENS: usize = 64;
/// Most tokens at the end of a prompt that the next turn of the same conversation may change: those
/// with which a template asks for an answer.
const MAX_CHANGED: usize = 16;

/// A kept session.
struct Kept {
    id: u32,
    tokens: Vec<u32>,
    /// Position up to which rings had been overwritten.
    reached: usize,
    /// Tokens of each snapshot.
    snapshots: Vec<usize>,
    size_bytes: u64,
    /// True if it is kept until the model is unloaded.
    is_pinned: bool,
}

/// The kept sessions of a model, the one used longest ago first.
pub(super) struct KeptSessions {
    store: Rc<dyn SessionStore>,
    sessions: Vec<Kept>,
    /// Most bytes of all sessions.
    budget: u64,
    next_id: u32,
}

impl KeptSessions {
    /// No session, in the given storage or in the memory of the program.
    pub(super) fn new(store: Option<Rc<dyn SessionStore>>, budget: Option<u64>) -> Self {
        let store = store.unwrap_or_else(|| Rc::new(ProgramMemory::default()));
        let budget = budget.unwrap_or(DEFAULT_SESSION_BYTES);
        Self { store, sessions: Vec::new(), budget, next_id: 0 }
    }

    /// Bytes of all sessions.
    pub(super) fn size_bytes(&self) -> u64 {
        self.sessions.iter().map(|kept| kept.size_bytes).sum()
    }

    /// The session that a prompt has most in common with: its index, and the number of tokens that
    /// need not be read again.
    fn best(&self, prompt: &[u32], layout: &StateLayout) -> Option<(usize, usize)> {
        let reusable = |kept: &Kept| {
            layout.reusable(&kept.tokens, kept.reached, kept.snapshots.iter().copied(), prompt)
        };
        let lengths = self.sessions.iter().map(reusable).enumerate();
        lengths.max_by_key(|(_, length)| *length)
    }

    /// Number for a new session, and the storage.
    fn next(&mut self) -> (u32, Rc<dyn SessionStore>) {
        let id = self.next_id;
        self.next_id += 1;
        (id, self.store.clone())
    }

    /// Adds a session that has been stored.
    fn push(
        &mut self,
        id: u32,
        header: &Header,
        tokens: Vec<u32>,
        reached: usize,
        size_bytes: u64,
        is_pinned: bool,
    ) {
        let snapshots = header.snapshots.iter().map(|length| *length as usize).collect();
        self.sessions.push(Kept { id, tokens, reached, snapshots, size_bytes, is_pinned });
    }

    /// Makes room for `size_bytes`; returns false, with nothing removed, if that is impossible.
    fn make_room(&mut self, size_bytes: u64) -> bool {
        let pinned = self.sessions.iter().filter(|kept| kept.is_pinned);
        let pinned: u64 = pinned.map(|kept| kept.size_bytes).sum();
        let is_possible = pinned.saturating_add(size_bytes) <= self.budget;
        while is_possible && self.size_bytes() + size_bytes > self.budget {
            let oldest = self.sessions.iter().position(|kept| !kept.is_pinned);
            let Some(kept) = oldest.map(|index| self.sessions.remove(index)) else { break };
            self.store.remove(kept.id);
        }
        is_possible
    }
}

/// True if a prompt is the next turn of the sequence's conversation, or its last turn anew.
fn is_same_conversation(sequence: &Sequence, prompt: &[u32]) -> bool {
    let read = sequence.prompt_length().min(sequence.len());
    let common = common_length(sequence.tokens(), prompt);
    common + MAX_CHANGED.min(read / 4) >= read
}

impl Engine {
    /// Prepares the sequence for a prompt: keeps its conversation if the prompt is of another one,
    /// and restores the kept session that has more in common with the prompt, if there is one.
    /// Errors of the storage only cost time: the prompt is read again. Those of the device, the
    /// next step reports.
    pub(super) async fn switch_session(&mut self, prompt: &[u32]) {
        if self.kept_sessions.budget == 0 {
            return;
        }
        self.sequence.settle(&mut self.executor);
        let reusable = self.sequence.reusable(prompt);
        let best = self.kept_sessions.best(prompt, self.sequence.layout());
        let best = best.filter(|(_, length)| *length >= reusable + MIN_TOKENS);
        // Taken out first: it must not make room for the one that it replaces.
        let best = best.map(|(index, _)| self.kept_sessions.sessions.remove(index));
        let stays = if best.is_some() { 0 } else { reusable };
        let is_replaced = best.is_some() || !is_same_conversation(&self.sequence, prompt);
        if is_replaced && self.sequence.len() >= stays + MIN_TOKENS {
            self.keep_session().await;
        }
        let Some(kept) = best else { return };
        let restored = match self.kept_sessions.store.open(kept.id) {
            Ok(source) => {
                let most = common_length(&kept.tokens, prompt);
                self.restore_before(&*source, most).await.is_ok()
            }
            Err(_) => false,
        };
        if restored && kept.is_pinned && self.kept_sessions.make_room(kept.size_bytes) {
            self.kept_sessions.sessions.push(kept);
        } else {
            self.kept_sessions.store.remove(kept.id);
        }
    }

    /// Keeps a saved session until the model is unloaded, for requests that begin as it does.
    /// Returns false if it does not fit into [`super::LoadOptions::session_bytes`].
    ///
    /// # Errors
    /// Errors of [`Engine::restore_session`]; errors of the storage.
    pub async fn keep_saved_session(&mut self, source: &dyn ByteSource) -> Result<bool> {
        let (header, tokens) = self.check_session(source).await?;
        let size_bytes = source.size_bytes();
        if !self.kept_sessions.make_room(size_bytes) {
            return Ok(false);
        }
        let (id, store) = self.kept_sessions.next();
        let mut at = 0;
        while at < size_bytes {
            let length = (size_bytes - at).min(PIECE_WORDS * 4);
            let appended = match source.read(at, length as usize).await {
                Ok(bytes) => store.append(id, &bytes),
                Err(error) => Err(error),
            };
            if let Err(error) = appended {
                store.remove(id);
                return Err(error);
            }
            at += length;
        }
        let buffers = checked_buffers(source.name(), &header, self.sequence.layout())?;
        let reached = reached(&header, &buffers, None);
        self.kept_sessions.push(id, &header, tokens, reached, size_bytes, true);
        Ok(true)
    }

    /// Keeps the session of the sequence. Does nothing if it does not fit into the budget, or if
    /// the storage or the device fails.
    async fn keep_session(&mut self) {
        self.sequence.settle(&mut self.executor);
        let (header, sources) = self.session_parts(None);
        let size_bytes = header.content_bytes();
        if header.tokens == 0 || !self.kept_sessions.make_room(size_bytes) {
            return;
        }
        let (id, store) = self.kept_sessions.next();
        let mut write = |bytes: &[u8]| store.append(id, bytes);
        if self.write_session(&header, &sources, &mut write).await.is_err() {
            return store.remove(id);
        }
        let (tokens, reached) = (self.sequence.tokens().to_vec(), self.sequence.reached());
        self.kept_sessions.push(id, &header, tokens, reached, size_bytes, false);
    }
}
