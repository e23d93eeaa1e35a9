// (a, b) ← (a·cos − b·sin, b·cos + a·sin) for each pair of a head (Su et al. 2021), in place.
// A workgroup rotates 64 pairs of one row, an invocation one pair.
#import lib/step
override PAIRS: u32; // of a row: heads times HALF
override STRIDE: u32;
override HEAD_DIM: u32;
override HALF: u32; // pairs of a head
override PAIR_STEP: u32; // from a pair to the next
override PAIR_GAP: u32; // between the two elements of a pair

@group(0) @binding(1) var<storage, read_write> x: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read> table: array<f32>; // [context, 2·HALF], cosines then sines

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= PAIRS) {
        return;
    }
    let head = id.x / HALF;
    let i = id.x % HALF;
    let angle = (step.position + id.y) * 2u * HALF + i;
    let first = id.y * STRIDE + head * HEAD_DIM + i * PAIR_STEP;
    let second = first + PAIR_GAP;
    let cos = table[angle];
    let sin = table[angle + HALF];
    let a = x[first];
    let b = x[second];
    x[first] = a * cos - b * sin;
    x[second] = b * cos + a * sin;
}
