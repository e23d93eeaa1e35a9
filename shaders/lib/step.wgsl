// Parameters of a step. Mirrored by `Step` in src/kernels/mod.rs.
struct Step {
    position: u32, // in the sequence, of the first row
    rows: u32,
}
@group(0) @binding(0) var<uniform> step: Step;
