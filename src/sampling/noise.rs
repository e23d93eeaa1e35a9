//! Gumbel noise: a number for each token that follows from seed, position and token id alone.
//!
//! The greatest of logit / temperature + noise is a draw from the softmax (the Gumbel-max trick:
//! Gumbel 1954; Maddison et al. 2014, A* Sampling). A hash replaces the state of a random number
//! generator, so that the order in which tokens are visited does not matter, and logits that
//! differ in their last bits still draw the same token. Mirrored by `shaders/lib/noise.wgsl`.

/// Returns the noise of a token at a position of the sequence: −ln(−ln u) with u uniform, from
/// −3.2 to 22.9.
///
/// u has all 32 bits of the hash. With the 24 bits of an `f32`, tokens of a probability below 10⁻⁷
/// would be drawn far too often or never; with 32 bits only probabilities below 2⁻³² are wrong,
/// which sum to at most 3·10⁻⁵ over 131,072 tokens.
pub fn gumbel(seed: u64, position: u32, id: u32) -> f64 {
    let hash = pcg4d([seed as u32, (seed >> 32) as u32, position, id / 4])[(id % 4) as usize];
    let unit = (f64::from(hash) + 0.5) / f64::from(1u32 << 31) / 2.0;
    -(-unit.ln()).ln()
}

/// Hashes four numbers to four (Jarzynski & Olano 2020, Hash Functions for GPU Rendering).
fn pcg4d(numbers: [u32; 4]) -> [u32; 4] {
    let mut mixed =
        numbers.map(|number| number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    mix(&mut mixed);
    mixed = mixed.map(|number| number ^ (number >> 16));
    mix(&mut mixed);
    mixed
}

fn mix([x, y, z, w]: &mut [u32; 4]) {
    *x = x.wrapping_add(y.wrapping_mul(*w));
    *y = y.wrapping_add(z.wrapping_mul(*x));
    *z = z.wrapping_add(x.wrapping_mul(*y));
    *w = w.wrapping_add(y.wrapping_mul(*z));
}
