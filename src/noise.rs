//! The noise of a draw: for each token a number that follows from seed, position and id alone.
//!
//! The greatest of logit / temperature plus Gumbel noise is a draw by the softmax (Gumbel 1954;
//! Maddison et al. 2014). Logits that differ in their last bits draw the same token, wherever the
//! tokens stand and whoever computes it; the GPU's form is `shaders/lib/noise.wgsl`.

/// Gumbel noise, −ln(−ln u), of a token at a position, from −3.2 to 22.9.
///
/// Of u all 32 bits count, at its ends most: 24 would have a token of a chance below 10⁻⁷ come up far
/// too often or never. With 32 only chances below 2⁻³² are wrong, of 131,072 tokens together by 3·10⁻⁵
/// at most.
pub fn gumbel(seed: u64, position: u32, id: u32) -> f64 {
    let hash = pcg4d([seed as u32, (seed >> 32) as u32, position, id / 4])[(id % 4) as usize];
    let unit = (f64::from(hash) + 0.5) / f64::from(1u32 << 31) / 2.0;
    -(-unit.ln()).ln()
}

/// Jarzynski & Olano, Hash Functions for GPU Rendering (2020): four numbers for four.
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
