// Activation function of a product that has none.
fn activated(values: vec4<f32>) -> vec4<f32> {
    return values;
}
