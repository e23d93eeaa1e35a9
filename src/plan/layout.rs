//! Memory of scratch buffers: two buffers share a slot if the last use of one precedes the first
//! write of the other.
//!
//! Shaders read whole units of 32 words, past the width of a row up to its stride, and expect zeros
//! there. Padded rows therefore share memory only with rows of the same width and stride.
//!
//! Logits have a slot of their own, the same in all plans, so that the sampling plan can read the
//! logits of any of them.

use super::Plan;
use crate::kernels::{Activation, Buffer};

/// Slots for the scratch buffers of several plans, of which one runs at a time.
#[derive(Debug, Clone)]
pub struct Slots {
    /// Words of each slot.
    pub words: Vec<u64>,
    /// Slot of each scratch buffer, by plan.
    pub of: Vec<Vec<u32>>,
}

/// Slot of the logits.
const LOGITS: usize = 0;

/// Assigns slots by first fit over lifetimes, plan by plan.
pub fn assign_slots(plans: &[&Plan]) -> Slots {
    let mut slots = Slots { words: vec![0], of: Vec::new() };
    let mut slot_shapes = vec![None];
    for plan in plans {
        let assigned = assign(plan, &mut slots.words, &mut slot_shapes);
        slots.of.push(assigned);
    }
    slots
}

/// Assigns slots to the scratch buffers of a plan. `words` and `slot_shapes` are the words of each
/// slot and its [`padded_shape`]; both grow.
fn assign(
    plan: &Plan,
    words: &mut Vec<u64>,
    slot_shapes: &mut Vec<Option<(u32, u32)>>,
) -> Vec<u32> {
    let (first_use, last_use) = lifetimes(plan);
    // Index of the last kernel that uses each slot.
    let mut busy_until: Vec<Option<usize>> = vec![None; words.len()];
    busy_until[LOGITS] = Some(usize::MAX);
    let mut order: Vec<usize> = (0..plan.scratch.len()).collect();
    order.sort_by_key(|buffer| first_use[*buffer]);
    let mut assigned = vec![0; plan.scratch.len()];
    for buffer in order {
        let free = |slot: &usize| {
            slot_shapes[*slot] == padded_shape(&plan.scratch[buffer])
                && busy_until[*slot].is_none_or(|until| until < first_use[buffer])
        };
        let is_logits =
            matches!(plan.logits.buffer, Buffer::Scratch(index) if usize::from(index) == buffer);
        let slot = if is_logits { Some(LOGITS) } else { (0..words.len()).find(free) };
        let slot = slot.unwrap_or_else(|| {
            words.push(0);
            slot_shapes.push(padded_shape(&plan.scratch[buffer]));
            busy_until.push(None);
            words.len() - 1
        });
        words[slot] = words[slot].max(plan.scratch[buffer].words(plan.capacity));
        busy_until[slot] = busy_until[slot].max(Some(last_use[buffer]));
        assigned[buffer] = slot as u32;
    }
    assigned
}

/// Width and stride of rows that have padding.
fn padded_shape(x: &Activation) -> Option<(u32, u32)> {
    (x.width != x.stride).then_some((x.width, x.stride))
}

/// Indices of the first and the last kernel that bind each scratch buffer.
fn lifetimes(plan: &Plan) -> (Vec<usize>, Vec<usize>) {
    let count = plan.scratch.len();
    let (mut first, mut last) = (vec![usize::MAX; count], vec![0; count]);
    for (index, planned) in plan.kernels.iter().enumerate() {
        for binding in planned.kernel.bindings() {
            if let Buffer::Scratch(buffer) = binding.buffer {
                let buffer = usize::from(buffer);
                first[buffer] = first[buffer].min(index);
                last[buffer] = index;
            }
        }
    }
    (first, last)
}
