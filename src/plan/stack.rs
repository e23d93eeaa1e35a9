//! Stacking of matrices: those of one format that read the same input, such as the projections of
//! queries, keys and values of a layer, become one, so that one kernel can compute all their rows.
//!
//! [`MatrixPart::row_offset`] is the number of rows of the stack before the part's tensor. Matrices
//! that several kernels use, as the embedding can be, stay alone, and a stack fits one binding.

use std::collections::BTreeMap;

use super::{Plan, Resources};
use crate::kernels::{Activation, Buffer, MatrixPart};

/// Stacks the matrices of a model's plans. All plans must have the same products.
pub fn stack(plans: &mut [Plan], resources: &mut Resources<'_>) {
    let stacks = plans.first().map_or_else(Vec::new, |plan| stacks(plan, resources));
    let places = resources.stack(&stacks);
    for planned in plans.iter_mut().flat_map(|plan| &mut plan.kernels) {
        if let Some(part) = planned.kernel.matrix_mut() {
            (part.matrix, part.row_offset) = places[usize::from(part.matrix)];
        }
    }
}

/// Indices of the matrices of each stack, from top to bottom.
fn stacks(plan: &Plan, resources: &Resources<'_>) -> Vec<Vec<u16>> {
    let is_whole = |part: &MatrixPart| part.rows == resources.matrix(part.matrix).rows;
    let mut uses: BTreeMap<u16, usize> = BTreeMap::new();
    for part in plan.kernels.iter().filter_map(|planned| planned.kernel.matrix()) {
        *uses.entry(part.matrix).or_default() += 1;
    }
    let is_used_once = |part: &MatrixPart| uses.get(&part.matrix) == Some(&1);
    let products = plan.kernels.iter().filter_map(|planned| planned.kernel.product());
    let products = products.map(|product| (product.x, product.matrix));
    let mut stacks: Vec<(Activation, Vec<MatrixPart>)> = Vec::new();
    // Index in `stacks` of the first stack that reads a buffer.
    let mut firsts: BTreeMap<Buffer, usize> = BTreeMap::new();
    for (x, part) in products.filter(|(_, part)| is_whole(part) && is_used_once(part)) {
        let first = *firsts.entry(x.buffer).or_insert(stacks.len());
        let matches = |(other, parts): &&mut (Activation, Vec<MatrixPart>)| {
            let rows = parts.iter().map(|part| part.rows).sum::<u32>() + part.rows;
            *other == x
                && parts[0].format == part.format
                && rows <= resources.fitting_rows(part.format, part.columns)
        };
        match stacks[first..].iter_mut().find(matches) {
            Some((_, parts)) => parts.push(part),
            None => stacks.push((x, vec![part])),
        }
    }
    let stacks = stacks.into_iter().filter(|(_, parts)| parts.len() > 1);
    stacks.map(|(_, parts)| parts.iter().map(|part| part.matrix).collect()).collect()
}
