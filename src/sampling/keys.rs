//! Sort keys of logits: integers in the order of the floats, for the host and the GPU alike.
//!
//! WGSL compilers may assume that no float is infinite or NaN, so a shader cannot find such logits
//! by comparing floats. It compares keys, which are computed from their bits.

/// Key of −∞, the logit of a token that cannot be sampled. On the GPU, key 0 fills places past the
/// end of the vocabulary.
pub(super) const MINUS_INFINITY_KEY: u32 = 0x007f_ffff;
/// Key of +∞, which no valid logit has; the key of NaN is greater.
pub(super) const INFINITY_KEY: u32 = 0xff80_0000;

/// Returns the key of a float. NaN of either sign has the greatest key; both zeros have one.
pub(super) fn key_of(number: f32) -> u32 {
    let (bits, magnitude) = (number.to_bits(), number.to_bits() & 0x7fff_ffff);
    match number {
        _ if number.is_nan() => u32::MAX,
        _ if magnitude != 0 && bits != magnitude => !bits,
        _ => magnitude | 0x8000_0000,
    }
}

/// Returns the float of a key: the inverse of [`key_of`], except that −0 becomes 0.
pub(super) fn number_of(key: u32) -> f32 {
    f32::from_bits(if key >= 0x8000_0000 { key & 0x7fff_ffff } else { !key })
}

/// True if the key is that of a finite float.
pub(super) fn is_finite(key: u32) -> bool {
    MINUS_INFINITY_KEY < key && key < INFINITY_KEY
}
