// BF16: four vectors per unit, the values in order, two per word: the upper halves of f32.
#import lib/dot32

@group(1) @binding(0) var<storage, read> plane_values: array<vec4<u32>>;

fn bf16_quad(low: u32, high: u32) -> vec4<f32> {
    let bits = vec4<u32>(low << 16u, low & 0xffff0000u, high << 16u, high & 0xffff0000u);
    return bitcast<vec4<f32>>(bits);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = 4u * (row * units + unit);
    let a = plane_values[at];
    let b = plane_values[at + 1u];
    let c = plane_values[at + 2u];
    let d = plane_values[at + 3u];
    return Weights32(
        bf16_quad(a.x, a.y), bf16_quad(a.z, a.w),
        bf16_quad(b.x, b.y), bf16_quad(b.z, b.w),
        bf16_quad(c.x, c.y), bf16_quad(c.z, c.w),
        bf16_quad(d.x, d.y), bf16_quad(d.z, d.w),
    );
}
