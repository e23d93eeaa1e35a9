// The gated short convolution of LFM2 (Liquid AI 2025):
//   w = B · u, y[r] = C[r] · Σ_k weights[k] · w[r - KERNEL + 1 + k]
// Products w before the step's first row come from the ring, which then takes the last KERNEL - 1.
// A workgroup computes 64 columns of 16 rows, an invocation one column.
#import lib/step
override WIDTH: u32;
override KERNEL: u32; // 2 to 8
override X_STRIDE: u32;
override Y_STRIDE: u32;

@group(0) @binding(1) var<storage, read> projected: array<f32>; // [rows, X_STRIDE]: B, C, u
@group(0) @binding(2) var<storage, read> weights: array<f32>; // [WIDTH, KERNEL]
@group(0) @binding(3) var<storage, read_write> ring: array<f32>; // [KERNEL - 1, WIDTH]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [rows, Y_STRIDE]

// Rows of a workgroup, at least KERNEL - 1: only the first workgroup reads the ring, so that one
// invocation both reads and writes a column of it.
const ROWS = 16u;

// Weight of the product `back` rows ago, 0 beyond the kernel.
fn weight(column: u32, back: u32) -> f32 {
    if (back >= KERNEL) {
        return 0.0;
    }
    return weights[column * KERNEL + KERNEL - 1u - back];
}

fn product(row: u32, column: u32) -> f32 {
    let first = row * X_STRIDE + column;
    return projected[first] * projected[first + 2u * WIDTH];
}

// Product `back` rows before row `first`, which is the first of a workgroup.
fn before(first: u32, column: u32, back: u32) -> f32 {
    if (back >= KERNEL) {
        return 0.0;
    }
    if (back <= first) {
        return product(first - back, column);
    }
    return ring[(step.position + KERNEL - 1u - back) % (KERNEL - 1u) * WIDTH + column];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    if (column >= WIDTH) {
        return;
    }
    let first = id.y * ROWS;
    let near = vec4<f32>(
        weight(column, 0u), weight(column, 1u), weight(column, 2u), weight(column, 3u),
    );
    let far = vec4<f32>(
        weight(column, 4u), weight(column, 5u), weight(column, 6u), weight(column, 7u),
    );
    // Products of the current row and the rows before it, newest first.
    var recent = vec4<f32>(
        before(first, column, 1u), before(first, column, 2u), before(first, column, 3u),
        before(first, column, 4u),
    );
    var older = vec4<f32>(
        before(first, column, 5u), before(first, column, 6u), before(first, column, 7u), 0.0,
    );
    for (var row = first; row < min(first + ROWS, step.rows); row++) {
        older = vec4<f32>(recent.w, older.xyz);
        recent = vec4<f32>(product(row, column), recent.xyz);
        let gate = projected[row * X_STRIDE + WIDTH + column];
        y[row * Y_STRIDE + column] = gate * (dot(near, recent) + dot(far, older));
    }
    if (first > 0u) {
        return;
    }
    for (var back = 1u; back < KERNEL; back++) {
        if (back <= step.rows) {
            let row = step.rows - back;
            let slot = (step.position + row) % (KERNEL - 1u);
            ring[slot * WIDTH + column] = product(row, column);
        }
    }
}
