// Functions that the kernels of a Mamba-2 mixer share.

// x / (1 + e^-x). The exponential overflows for x below -88; the bound makes the result -0 there.
fn silu(x: f32) -> f32 {
    return x / (1.0 + exp(-max(x, -88.0)));
}

// log(1 + e^x). With e = e^-|x| and z = e / (2 + e), at most 1/3, log(1 + e) is twice the series
// z + z³/3 + z⁵/5 + …, which is exact to f32 also where 1 + e rounds to 1.
fn softplus(x: f32) -> f32 {
    let e = exp(-abs(x));
    let z = e / (2.0 + e);
    let s = z * z;
    let tail = 1.0 / 9.0 + s * (1.0 / 11.0 + s * (1.0 / 13.0 + s / 15.0));
    let series = 1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * tail)));
    return max(x, 0.0) + 2.0 * z * series;
}
