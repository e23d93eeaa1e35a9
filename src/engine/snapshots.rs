//! Snapshots of a sequence: copies of the state that cannot be truncated everywhere, recurrent
//! state and caches that are rings, at positions to which a later prompt is likely to go back. The
//! other caches still hold the rows before such a position, so that the sequence can continue.

use crate::plan::{Resources, SharedRole};

/// State buffers and their copies, as indices of shared buffers.
pub(super) type Copies = Vec<(usize, usize)>;

/// The snapshots of a sequence.
pub(super) struct Snapshots {
    sets: Vec<CopySet>,
    /// Number of uses so far.
    uses: u64,
}

/// Memory for a snapshot: copies of all state buffers that cannot be truncated everywhere.
struct CopySet {
    copies: Copies,
    taken: Option<Taken>,
}

/// A snapshot.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    /// Tokens of the sequence up to it.
    pub(super) length: usize,
    /// Position up to which its rings had been overwritten.
    pub(super) reached: usize,
    /// Value of [`Snapshots::uses`] when it was last used.
    last_use: u64,
}

impl Snapshots {
    /// No snapshot, with the memory that the plans of a model have for them.
    pub(super) fn new(resources: &Resources<'_>) -> Self {
        let mut sets: Vec<CopySet> = Vec::new();
        for (index, buffer) in resources.shared().iter().enumerate() {
            let SharedRole::Snapshot(of) = buffer.role else { continue };
            let copy = (usize::from(of), index);
            // Each set has a copy of every state buffer, in the same order.
            match sets.last_mut() {
                Some(set) if set.copies.first().is_some_and(|(first, _)| *first != copy.0) => {
                    set.copies.push(copy);
                }
                _ => sets.push(CopySet { copies: vec![copy], taken: None }),
            }
        }
        Self { sets, uses: 0 }
    }

    /// Most snapshots that there can be.
    pub(super) fn capacity(&self) -> usize {
        self.sets.len()
    }

    /// Index of the set for a snapshot of `length` tokens, and its copies: a free one, or the one
    /// used longest ago, but of several not the shortest, which most prompts have in common. `None`
    /// if there is such a snapshot already, or no set. `reached` is as in [`Taken`].
    pub(super) fn take(&mut self, length: usize, reached: usize) -> Option<(usize, &Copies)> {
        self.uses += 1;
        if self.sets.iter().flat_map(|set| set.taken).any(|taken| taken.length == length) {
            return None;
        }
        let lengths = self.sets.iter().flat_map(|set| set.taken).map(|taken| taken.length);
        let shortest = lengths.min().filter(|_| self.sets.len() > 1);
        let age =
            |set: &CopySet| set.taken.map(|taken| (Some(taken.length) == shortest, taken.last_use));
        let oldest = self.sets.iter_mut().enumerate().min_by_key(|(_, set)| age(set));
        let (index, set) = oldest?;
        set.taken = Some(Taken { length, reached, last_use: self.uses });
        Some((index, &set.copies))
    }

    /// The snapshot of the most tokens up to `most`, with the index of its set and its copies.
    pub(super) fn find(&mut self, most: usize) -> Option<(usize, &Copies, Taken)> {
        self.uses += 1;
        let fitting = |set: &CopySet| set.taken.filter(|taken| taken.length <= most);
        let sets = self.sets.iter_mut().enumerate();
        let (index, set) = sets.max_by_key(|(_, set)| fitting(set).map(|taken| taken.length))?;
        let taken = set.taken.as_mut().filter(|taken| taken.length <= most)?;
        taken.last_use = self.uses;
        Some((index, &set.copies, *taken))
    }

    /// The snapshots with their sets and copies, the shortest first.
    pub(super) fn taken(&self) -> Vec<(usize, &Copies, Taken)> {
        let sets = self.sets.iter().enumerate();
        let taken = sets.filter_map(|(index, set)| Some((index, &set.copies, set.taken?)));
        let mut taken: Vec<_> = taken.collect();
        taken.sort_by_key(|(_, _, taken)| taken.length);
        taken
    }

    /// Takes a set for a snapshot of a saved session, to which copies of the state buffers `copied`
    /// are yet to be written. Ignores one that lacks a copy: it is of a load with fewer rings.
    pub(super) fn take_restored(&mut self, copied: &[usize], length: usize, reached: usize) {
        let copies = self.sets.first().map_or(&[][..], |set| &set.copies);
        if copies.iter().all(|(state, _)| copied.contains(state)) {
            self.take(length, reached);
        }
    }

    /// The copy that the snapshot of `length` tokens has of a state buffer.
    pub(super) fn copy_of(&self, length: usize, state: usize) -> Option<usize> {
        let is_wanted = |set: &&CopySet| set.taken.is_some_and(|taken| taken.length == length);
        let set = self.sets.iter().find(is_wanted)?;
        set.copies.iter().find(|(of, _)| *of == state).map(|(_, copy)| *copy)
    }

    /// Drops the snapshots of more than `length` tokens, whose sequence has been changed.
    pub(super) fn truncate(&mut self, length: usize) {
        for set in &mut self.sets {
            set.taken = set.taken.filter(|taken| taken.length <= length);
        }
    }
}
