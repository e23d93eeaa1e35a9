//! Layout of a sequence's state: the KV caches and the recurrent state of all layers, as the shared
//! buffers that hold them. Every executor has the same buffers with the same words in them, so that
//! state can move between executors, and into and out of a snapshot.

use std::ops::Range;

use crate::kernels::CacheRows;
use crate::plan::{Resources, StateKind};

/// A shared buffer that holds state.
#[derive(Debug, Clone)]
pub(super) struct StateBuffer {
    /// Index among the shared buffers.
    pub(super) index: usize,
    /// Name of the layer's state, e.g. of its keys; unique in a model.
    pub(super) name: String,
    /// Rows by position, or a recurrent state.
    pub(super) kind: StateKind,
    /// Length in 4-byte words.
    pub(super) words: u64,
}

/// Range of words of a shared buffer.
pub(super) type StatePart = (usize, Range<u64>);

/// All buffers that hold state, in a fixed order.
#[derive(Debug, Clone)]
pub(super) struct StateLayout(Vec<StateBuffer>);

impl StateLayout {
    /// Layout of the state that plans asked for.
    pub(super) fn new(resources: &Resources<'_>) -> Self {
        let buffer = |(index, kind): (usize, StateKind)| {
            let shared = &resources.shared()[index];
            StateBuffer { index, name: shared.name.clone(), kind, words: shared.words }
        };
        Self(resources.state_buffers().map(buffer).collect())
    }

    /// The buffers.
    pub(super) fn buffers(&self) -> &[StateBuffer] {
        &self.0
    }

    /// The buffer of that index among the shared buffers.
    pub(super) fn buffer(&self, index: usize) -> Option<&StateBuffer> {
        self.0.iter().find(|buffer| buffer.index == index)
    }

    /// The buffer of that name, and its place in the order.
    pub(super) fn named(&self, name: &str) -> Option<(usize, &StateBuffer)> {
        self.0.iter().enumerate().find(|(_, buffer)| buffer.name == name)
    }

    /// True if a part of the state has no rows by position, so that a sequence cannot be truncated.
    pub(super) fn is_recurrent(&self) -> bool {
        self.0.iter().any(|buffer| buffer.kind == StateKind::Recurrent)
    }

    /// True if the caches of a sequence that has reached position `reached` still hold what a row
    /// at `position` sees.
    pub(super) fn holds(&self, position: usize, reached: usize) -> bool {
        self.0.iter().all(|buffer| match buffer.kind {
            StateKind::Positions(CacheRows { ring: Some(ring), .. }) => {
                ring.holds(position, reached)
            }
            _ => true,
        })
    }

    /// True if a sequence of `length` tokens that has reached position `reached` can continue at
    /// `position` without a snapshot.
    pub(super) fn can_continue(&self, position: usize, length: usize, reached: usize) -> bool {
        position >= length || !self.is_recurrent() && self.holds(position, reached)
    }

    /// Number of tokens of a prompt that need not be read again after a sequence of `tokens` that
    /// has reached position `reached`, with snapshots of these lengths. The prompt's last token is
    /// always read, because its logits are needed.
    pub(super) fn reusable(
        &self,
        tokens: &[u32],
        reached: usize,
        snapshots: impl Iterator<Item = usize>,
        prompt: &[u32],
    ) -> usize {
        let common = common_length(tokens, prompt);
        if self.can_continue(common, tokens.len(), reached) {
            return common;
        }
        snapshots.filter(|length| *length <= common).max().unwrap_or(0)
    }

    /// The words that hold `positions`, or the last of them in a ring, and all of the recurrent
    /// state.
    pub(super) fn parts(&self, positions: Range<u32>) -> Vec<StatePart> {
        let words = |buffer: &StateBuffer| match buffer.kind {
            StateKind::Positions(rows) => {
                let before = |row: u32| u64::from(row) * rows.words();
                rows.rows_of(positions.clone()).map(|held| before(held.start)..before(held.end))
            }
            StateKind::Recurrent => [0..buffer.words, 0..0],
        };
        let parts =
            self.0.iter().flat_map(|buffer| words(buffer).map(|words| (buffer.index, words)));
        parts.filter(|(_, words)| !words.is_empty()).collect()
    }

    /// Bytes of the state of a sequence of that many positions.
    pub(super) fn bytes(&self, positions: u32) -> u64 {
        self.parts(0..positions).iter().map(|(_, words)| (words.end - words.start) * 4).sum()
    }
}

/// Length of the longest common prefix of a sequence and a prompt, without the prompt's last token.
pub(super) fn common_length(tokens: &[u32], prompt: &[u32]) -> usize {
    let common = tokens.iter().zip(prompt).take_while(|(old, new)| old == new).count();
    common.min(prompt.len().saturating_sub(1))
}
