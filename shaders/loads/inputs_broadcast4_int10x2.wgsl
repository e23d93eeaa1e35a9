// Loads of inputs for arithmetic/int10x2, shared by four lanes: as in inputs_broadcast4.wgsl, but
// each lane also rounds its quarter.
#import loads/broadcast_lane

fn load_unit(i: u32, index: u32) -> Inputs32 {
    let a = x[i + index];
    let b = x[i + 4u + index];
    let both = max(abs(a), abs(b));
    let own = max(max(both.x, both.y), max(both.z, both.w));
    let pair = max(own, quadSwapX(own));
    let scale = max(pair, quadSwapY(pair)) / 511.0;
    // Zeros if the scale is below 1e-30.
    let inverse = select(0.0, 1.0 / scale, scale > 1e-30);
    let p = pairs_quad(a, inverse);
    let q = pairs_quad(b, inverse);
    let x0 = quadBroadcast(p, 0u);
    let x1 = quadBroadcast(p, 1u);
    let x2 = quadBroadcast(p, 2u);
    let x3 = quadBroadcast(p, 3u);
    let x4 = quadBroadcast(q, 0u);
    let x5 = quadBroadcast(q, 1u);
    let x6 = quadBroadcast(q, 2u);
    let x7 = quadBroadcast(q, 3u);
    let sums = vec2<f32>(pairs_sum((x0 + x1) + (x2 + x3)), pairs_sum((x4 + x5) + (x6 + x7)));
    return Inputs32(x0, x1, x2, x3, x4, x5, x6, x7, sums, scale);
}
