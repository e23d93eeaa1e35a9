//! Weights as whole numbers of at most eight bits times scales: what products of whole numbers take, on
//! processors.

use super::UNIT;

/// How a format's weights are whole numbers: `scale · quant + offset`, or `scale · (quant − zero)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integers {
    /// Bits of a quant: 4, or 8 where it has more than four.
    pub bits: u32,
    /// The quant that stands for zero everywhere; without one each scale has an offset.
    pub zero: Option<u8>,
    /// Weights that share a scale: 32, or 16 in a format without offsets.
    pub group: usize,
    /// Whether the quants are T4's, on a curve of their own in each unit.
    pub is_bent: bool,
}

impl Integers {
    /// Sixteen levels.
    pub(super) const fn nibbles(zero: Option<u8>) -> Option<Self> {
        Some(Self { bits: 4, zero, group: UNIT, is_bent: false })
    }

    /// More of them.
    pub(super) const fn bytes(zero: Option<u8>) -> Option<Self> {
        Some(Self { bits: 8, zero, group: UNIT, is_bent: false })
    }
}

/// The weights of a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntegerUnit {
    /// A quant for each weight.
    pub quants: [u8; UNIT],
    /// The scales of its halves, which differ only in groups of 16.
    pub scales: [f32; 2],
    /// Its offset.
    pub offset: f32,
    /// Its curve, instead of those, where quants are bent.
    pub curve: Curve,
}

/// A curve of T4: `scale · (u + bend · u³ + shift)` with `u = quant − 7.5`, as it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Curve(pub u16);

impl Curve {
    /// Scale, bend and shift. Every curve is finite.
    #[inline(always)]
    pub fn numbers(self) -> [f32; 3] {
        let bits = u32::from(self.0);
        let scale = f32::from_bits((103 << 23) + ((bits >> 8) << 20));
        [scale, (bits & 7) as f32 / 256.0, ((bits >> 3) & 31) as f32 / 4.0 - 4.0]
    }
}

impl IntegerUnit {
    /// No weights.
    pub const ZERO: Self =
        Self { quants: [0; UNIT], scales: [0.0; 2], offset: 0.0, curve: Curve(0) };
    /// The zero of [`IntegerUnit::rounded`].
    pub(super) const MIDDLE: u8 = 128;

    /// A unit whose weights share a scale.
    pub(super) fn new(quants: [u8; UNIT], scale: f32, offset: f32) -> Self {
        Self { quants, scales: [scale; 2], offset, curve: Curve(0) }
    }

    /// The nearest of 255 levels between the greatest weight and its opposite: for formats whose
    /// weights are no whole numbers, and have fewer levels between zero and the greatest.
    pub(super) fn rounded(weights: &[f32]) -> Self {
        let greatest = weights.iter().fold(0.0f32, |greatest, weight| greatest.max(weight.abs()));
        let (scale, over) =
            if greatest > 0.0 { (greatest / 127.0, 127.0 / greatest) } else { (0.0, 0.0) };
        let mut quants = [Self::MIDDLE; UNIT];
        for (quant, weight) in quants.iter_mut().zip(weights) {
            *quant = (128.0 + (weight * over).round_ties_even()) as u8;
        }
        Self::new(quants, scale, 0.0)
    }
}
