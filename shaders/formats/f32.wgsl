// F32: eight vectors per unit, the values in order.
#import lib/dot32

@group(1) @binding(0) var<storage, read> plane_values: array<vec4<u32>>;

fn weights32(row: u32, unit: u32) -> Weights32 {
    let units = (COLUMNS + 31u) / 32u;
    let at = 8u * (row * units + unit);
    return Weights32(
        bitcast<vec4<f32>>(plane_values[at]),
        bitcast<vec4<f32>>(plane_values[at + 1u]),
        bitcast<vec4<f32>>(plane_values[at + 2u]),
        bitcast<vec4<f32>>(plane_values[at + 3u]),
        bitcast<vec4<f32>>(plane_values[at + 4u]),
        bitcast<vec4<f32>>(plane_values[at + 5u]),
        bitcast<vec4<f32>>(plane_values[at + 6u]),
        bitcast<vec4<f32>>(plane_values[at + 7u]),
    );
}
