// Q8_0: weight = i8 quant · scale. Two vectors of bytes per unit; f16 scales, two per word.
@group(1) @binding(0) var<storage, read> plane_quants: array<vec4<u32>>;
@group(1) @binding(1) var<storage, read> plane_scales: array<u32>;

// Four i8 quants plus 128.
fn q8_0_quad(word: u32) -> vec4<f32> {
    return weights_bytes(word ^ 0x80808080u);
}

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = 2u * (row * units + unit);
    let a = plane_quants[at];
    let b = plane_quants[at + 1u];
    let scale = weights_half(plane_scales[row * ((units + 1u) / 2u) + unit / 2u], unit & 1u);
    return Weights32(
        scale * (q8_0_quad(a.x) - 128.0), scale * (q8_0_quad(a.y) - 128.0),
        scale * (q8_0_quad(a.z) - 128.0), scale * (q8_0_quad(a.w) - 128.0),
        scale * (q8_0_quad(b.x) - 128.0), scale * (q8_0_quad(b.y) - 128.0),
        scale * (q8_0_quad(b.z) - 128.0), scale * (q8_0_quad(b.w) - 128.0),
    );
}

fn dot32(row: u32, unit: u32, v: Inputs32) -> f32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = 2u * (row * units + unit);
    let a = plane_quants[at];
    let b = plane_quants[at + 1u];
    let scale = weights_half(plane_scales[row * ((units + 1u) / 2u) + unit / 2u], unit & 1u);
    let products = dot_signed(a, b, v);
    return scale * (products.x + products.y);
}
