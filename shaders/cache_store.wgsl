// cache[position + row] = x[row]: appends keys or values to a layer's cache.
// A workgroup copies 64 columns of one row, an invocation one column.
#import lib/step
override WIDTH: u32;
override STRIDE: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [rows, STRIDE]
@group(0) @binding(2) var<storage, read_write> cache: array<f32>; // [context, WIDTH]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < WIDTH) {
        cache[(step.position + id.y) * WIDTH + id.x] = x[id.y * STRIDE + id.x];
    }
}
