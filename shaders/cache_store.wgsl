// cache[row of position + row] ← x[row]: appends keys or values to the cache of a layer, in its
// format.
// A workgroup stores 64 parts of one row, an invocation one part.
// The store, a file of caches/, defines the size of a part and
//   store(cached, row, part): converts that part of a row of x and writes it to a row of the cache.
#import lib/step
#import lib/ring
#import store
override WIDTH: u32;
override STRIDE: u32;
override PARTS: u32; // of a row

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [rows, STRIDE / 4]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < PARTS) {
        store(cache_row(step.position + id.y), id.y, id.x);
    }
}
