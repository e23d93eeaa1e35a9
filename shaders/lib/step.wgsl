// What changes from step to step. Mirrored by `Step` in src/kernels/mod.rs.
struct Step {
    position: u32, // of the step's first row, in the sequence
    rows: u32,
}
@group(0) @binding(0) var<uniform> step: Step;
