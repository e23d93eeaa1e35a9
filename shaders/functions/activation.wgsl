// Activation function of a product: f(outputs), f chosen by FUNCTION.
#import lib/function

fn activated(values: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        function_of(values.x), function_of(values.y), function_of(values.z), function_of(values.w),
    );
}
