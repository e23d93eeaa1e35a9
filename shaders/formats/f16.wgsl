// F16: four vectors per unit, the values in order, two per word.
#import lib/dot32

@group(1) @binding(0) var<storage, read> plane_values: array<vec4<u32>>;

fn f16_quad(low: u32, high: u32) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(low), unpack2x16float(high));
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = 4u * (row * units + unit);
    let a = plane_values[at];
    let b = plane_values[at + 1u];
    let c = plane_values[at + 2u];
    let d = plane_values[at + 3u];
    return Weights32(
        f16_quad(a.x, a.y), f16_quad(a.z, a.w),
        f16_quad(b.x, b.y), f16_quad(b.z, b.w),
        f16_quad(c.x, c.y), f16_quad(c.z, c.w),
        f16_quad(d.x, d.y), f16_quad(d.z, d.w),
    );
}
