//! Snapshots of a sequence: copies of the state that cannot be truncated everywhere, recurrent
//! state and caches that are rings, at positions to which a later prompt is likely to go back. The
//! other caches still hold the rows before such a position, so that the sequence can continue.

use crate::plan::{Resources, SharedRole};

/// State buffers and their copies, as indices of shared buffers.
pub(super) type Copies = Vec<(usize, usize)>;

/// The snapshots of a sequence.
pub(super) struct Snapshots {
    slots: Vec<Slot>,
    /// Number of uses so far.
    uses: u64,
}

/// Memory for a snapshot.
struct Slot {
    copies: Copies,
    taken: Option<Taken>,
}

/// A snapshot in a slot.
#[derive(Clone, Copy)]
struct Taken {
    /// Tokens of the sequence up to it.
    length: usize,
    /// Value of [`Snapshots::uses`] when it was last used.
    last_use: u64,
}

impl Snapshots {
    /// No snapshot, in the slots that the plans of a model have.
    pub(super) fn new(resources: &Resources<'_>) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        for (index, buffer) in resources.shared().iter().enumerate() {
            let SharedRole::Snapshot(of) = buffer.role else { continue };
            let copy = (usize::from(of), index);
            // Each slot has a copy of every state buffer, in the same order.
            match slots.last_mut() {
                Some(slot) if slot.copies.first().is_some_and(|(first, _)| *first != copy.0) => {
                    slot.copies.push(copy);
                }
                _ => slots.push(Slot { copies: vec![copy], taken: None }),
            }
        }
        Self { slots, uses: 0 }
    }

    /// Number of slots.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// Slot for a snapshot of `length` tokens, with its copies: a free one, or the one used longest
    /// ago, but of several not the shortest, which most prompts have in common. `None` if there is
    /// such a snapshot already, or no slot.
    pub(super) fn take(&mut self, length: usize) -> Option<(usize, &Copies)> {
        self.uses += 1;
        if self.slots.iter().flat_map(|slot| slot.taken).any(|taken| taken.length == length) {
            return None;
        }
        let lengths = self.slots.iter().flat_map(|slot| slot.taken).map(|taken| taken.length);
        let shortest = lengths.min().filter(|_| self.slots.len() > 1);
        let age =
            |slot: &Slot| slot.taken.map(|taken| (Some(taken.length) == shortest, taken.last_use));
        let oldest = self.slots.iter_mut().enumerate().min_by_key(|(_, slot)| age(slot));
        let (index, slot) = oldest?;
        slot.taken = Some(Taken { length, last_use: self.uses });
        Some((index, &slot.copies))
    }

    /// The snapshot of the most tokens up to `most`: its slot, copies and length.
    pub(super) fn find(&mut self, most: usize) -> Option<(usize, &Copies, usize)> {
        self.uses += 1;
        let fitting = |slot: &Slot| slot.taken.filter(|taken| taken.length <= most);
        let slots = self.slots.iter_mut().enumerate();
        let (index, slot) =
            slots.max_by_key(|(_, slot)| fitting(slot).map(|taken| taken.length))?;
        let taken = slot.taken.as_mut().filter(|taken| taken.length <= most)?;
        taken.last_use = self.uses;
        Some((index, &slot.copies, taken.length))
    }

    /// Slot, copies and length of each snapshot, the shortest first.
    pub(super) fn taken(&self) -> Vec<(usize, Copies, usize)> {
        let slots = self.slots.iter().enumerate();
        let taken = slots
            .filter_map(|(index, slot)| Some((index, slot.copies.clone(), slot.taken?.length)));
        let mut taken: Vec<_> = taken.collect();
        taken.sort_by_key(|(_, _, length)| *length);
        taken
    }

    /// The copy that a slot has of a state buffer.
    pub(super) fn copy_of(&self, slot: usize, state: usize) -> Option<usize> {
        let copies = &self.slots.get(slot)?.copies;
        copies.iter().find(|(of, _)| *of == state).map(|(_, copy)| *copy)
    }

    /// Drops the snapshots of more than `length` tokens, whose sequence has been changed.
    pub(super) fn truncate(&mut self, length: usize) {
        for slot in &mut self.slots {
            slot.taken = slot.taken.filter(|taken| taken.length <= length);
        }
    }
}
