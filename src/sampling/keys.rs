//! Sort keys of logits: integers in the order of the numbers, for the host and the GPU alike.
//!
//! WGSL compilers may assume that no number is infinite or NaN, and so comparisons of floats
//! would not find such logits; comparisons of their bits do.

/// Key of −∞: a token that cannot be sampled. Everything up to it is no logit.
pub(super) const MINUS_INFINITY_KEY: u32 = 0x007f_ffff;
/// Key of +∞. From here on a model is broken: +∞ and, above it, NaN.
pub(super) const INFINITY_KEY: u32 = 0xff80_0000;

/// Returns the key of a number. NaN of either sign has the greatest key, both zeros have one.
pub(super) fn key_of(number: f32) -> u32 {
    let (bits, magnitude) = (number.to_bits(), number.to_bits() & 0x7fff_ffff);
    match number {
        _ if number.is_nan() => u32::MAX,
        _ if magnitude != 0 && bits != magnitude => !bits,
        _ => magnitude | 0x8000_0000,
    }
}

/// Returns the number of a key: the inverse of [`key_of`], except that −0 becomes 0.
pub(super) fn number_of(key: u32) -> f32 {
    f32::from_bits(if key >= 0x8000_0000 { key & 0x7fff_ffff } else { !key })
}

/// True if the key is that of a finite number.
pub(super) fn is_finite(key: u32) -> bool {
    MINUS_INFINITY_KEY < key && key < INFINITY_KEY
}
