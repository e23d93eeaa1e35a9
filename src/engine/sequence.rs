//! The sequence that an engine works on: its tokens, and the layout of the state that the executor
//! holds for them.

use super::executors::Executor;
use super::snapshots::Snapshots;
use super::state::{StateLayout, common_length};
use crate::error::Result;
use crate::plan::{Resources, StateKind};

/// State of a layer, such as its keys or values.
#[derive(Debug, Clone)]
pub struct LayerState {
    /// Name of the state, e.g. of the layer's keys.
    pub name: String,
    /// KV rows, position by position or as a ring holds them, or the recurrent state; cache formats
    /// are converted to `f32`.
    pub values: Vec<f32>,
}

/// A sequence. Its tokens change only together with the executor's state: after each step, and when
/// a new prompt reuses a prefix.
pub(super) struct Sequence {
    /// Tokens whose state the executor holds.
    tokens: Vec<u32>,
    /// Position up to which rings have been overwritten.
    reached: usize,
    /// Length of the prompt of the last request.
    prompt_length: usize,
    layout: StateLayout,
    snapshots: Snapshots,
    /// True if a step began and did not end, so that the state may be ahead of the tokens.
    is_dirty: bool,
}

impl Sequence {
    /// An empty sequence of a model.
    pub(super) fn new(resources: &Resources<'_>) -> Self {
        let (layout, snapshots) = (StateLayout::new(resources), Snapshots::new(resources));
        Self {
            tokens: Vec::new(),
            reached: 0,
            prompt_length: 0,
            layout,
            snapshots,
            is_dirty: false,
        }
    }

    /// Number of tokens, which is the position of the next one.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// True if a part of the state has no rows by position, so that the sequence cannot be
    /// truncated.
    pub(super) fn is_recurrent(&self) -> bool {
        self.layout.is_recurrent()
    }

    /// Most snapshots that there can be; 0 if going back to an earlier position never needs one.
    pub(super) fn snapshot_capacity(&self) -> usize {
        self.snapshots.capacity()
    }

    /// Takes a snapshot at the current position.
    pub(super) fn take_snapshot(&mut self, executor: &mut Executor) {
        if let Some((set, copies)) = self.snapshots.take(self.tokens.len(), self.reached) {
            executor.save_state(set, copies);
        }
    }

    /// Drops what the host has not read, and goes back to where the state is complete.
    pub(super) fn settle(&mut self, executor: &mut Executor) {
        self.drop_samples(executor);
        if self.is_dirty {
            self.go_back(self.tokens.len(), executor);
        }
    }

    /// Tokens whose state the executor holds.
    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Layout of the state.
    pub(super) fn layout(&self) -> &StateLayout {
        &self.layout
    }

    /// Position up to which rings have been overwritten.
    pub(super) fn reached(&self) -> usize {
        self.reached
    }

    /// Length of the prompt of the last request; the tokens after it are of its answer.
    pub(super) fn prompt_length(&self) -> usize {
        self.prompt_length
    }

    /// The snapshots.
    pub(super) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Takes the tokens of a saved session, whose state is yet to be written; the numbers are as of
    /// [`Self::reached`] and [`Self::prompt_length`]. Returns the snapshots.
    pub(super) fn restore(
        &mut self,
        tokens: Vec<u32>,
        reached: usize,
        prompt_length: usize,
    ) -> &mut Snapshots {
        (self.tokens, self.reached, self.prompt_length) = (tokens, reached, prompt_length);
        &mut self.snapshots
    }

    /// Marks the state as ahead of the tokens, until [`Self::end_step`].
    pub(super) fn begin_step(&mut self) {
        self.is_dirty = true;
    }

    /// Appends the tokens of a step that has ended.
    pub(super) fn end_step(&mut self, tokens: &[u32]) {
        self.is_dirty = false;
        self.tokens.extend_from_slice(tokens);
        self.reached = self.reached.max(self.tokens.len());
    }

    /// Drops the tokens that the GPU sampled and the host has not read. Their steps have changed
    /// the state, which becomes dirty if it cannot be truncated to the tokens that remain.
    pub(super) fn drop_samples(&mut self, executor: &mut Executor) {
        let dropped = executor.forget_samples();
        self.reached = self.reached.max(self.tokens.len() + dropped);
        let is_ahead = dropped > 0 && self.is_recurrent();
        self.is_dirty |= is_ahead || !self.layout.holds(self.tokens.len(), self.reached);
    }

    /// Number of tokens that [`Self::reuse_prefix`] would keep.
    pub(super) fn reusable(&self, prompt: &[u32]) -> usize {
        let snapshots = self.snapshots.taken().into_iter().map(|(_, _, taken)| taken.length);
        self.layout.reusable(&self.tokens, self.reached, snapshots, prompt)
    }

    /// Keeps the longest common prefix of the sequence and a prompt, or, if the state cannot be
    /// truncated there, what a snapshot has of it; returns the length kept. The prompt's last token
    /// is not kept, because its logits are needed.
    pub(super) fn reuse_prefix(&mut self, prompt: &[u32], executor: &mut Executor) -> usize {
        let common = common_length(&self.tokens, prompt);
        if self.is_dirty || !self.truncate(common) {
            self.go_back(common, executor);
        }
        self.prompt_length = prompt.len();
        self.tokens.len()
    }

    /// Goes back to the last snapshot of at most `most` tokens, or to the beginning.
    fn go_back(&mut self, most: usize, executor: &mut Executor) {
        let Some((set, copies, taken)) = self.snapshots.find(most) else {
            return self.reset(executor);
        };
        executor.forget_samples();
        executor.restore_state(set, copies, taken.length);
        self.is_dirty = false;
        self.reached = taken.reached;
        self.tokens.truncate(taken.length);
        self.snapshots.truncate(taken.length);
    }

    /// Drops all tokens from `length` on; returns false, with nothing dropped, if the state cannot
    /// be truncated.
    pub(super) fn truncate(&mut self, length: usize) -> bool {
        let can_truncate = self.layout.can_continue(length, self.tokens.len(), self.reached);
        if can_truncate {
            self.tokens.truncate(length);
            self.snapshots.truncate(length);
        }
        can_truncate
    }

    /// Empties the sequence and zeroes its state.
    pub(super) fn reset(&mut self, executor: &mut Executor) {
        self.tokens.clear();
        self.snapshots.truncate(0);
        (self.reached, self.prompt_length) = (0, 0);
        self.is_dirty = false;
        executor.forget_samples();
        executor.clear_state();
    }

    /// Reads back the state of all layers as `f32`.
    pub(super) async fn read_state(&self, executor: &Executor) -> Result<Vec<LayerState>> {
        let mut layers = Vec::new();
        for buffer in self.layout.buffers() {
            let words = executor.read_parts(&[(buffer.index, 0..buffer.words)]).await?;
            let values = match buffer.kind {
                StateKind::Positions(rows) => rows.decode(&words),
                StateKind::Recurrent => words,
            };
            layers.push(LayerState { name: buffer.name.clone(), values });
        }
        Ok(layers)
    }
}
