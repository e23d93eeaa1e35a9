//! Integer form of a format's weights, for integer dot products on CPUs: quants of at most eight
//! bits, decoded by a scale per group of columns.

use super::bits::UNIT;

/// Integer form of a format's weights, the same for all of its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegerQuants {
    /// Bits of a packed quant: 1 to 4, 6 (formats of five and six) or 8.
    pub bits: u32,
    /// Weight of a quant, before its scale.
    pub levels: Levels,
    /// Quant that stands for zero in every unit; `None` if each scale has an offset.
    pub zero_point: Option<u8>,
    /// Weights that share a scale, and an offset if there is one: 32 or 16.
    pub group: usize,
}

/// Map from a quant to its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Levels {
    /// `scale · (quant − zero_point)`, or `scale · quant + offset` without a zero point.
    Linear,
    /// A cubic curve per unit, of four-bit quants: see [`Curve`].
    Cubic,
    /// `scale · table[quant]`, of three or four bits: a codebook, one for the whole format. Levels
    /// of three bits differ by less than 128.
    Table(&'static [i8; 16]),
    /// `scale · (2 · quant − 1)`, of one-bit quants.
    Signs,
}

impl IntegerQuants {
    /// Linear quants of four bits, one scale per unit.
    pub(super) const fn nibbles(zero_point: Option<u8>) -> Option<Self> {
        Some(Self { bits: 4, levels: Levels::Linear, zero_point, group: UNIT })
    }

    /// Linear quants of five or six bits, one scale per unit.
    pub(super) const fn sixes(zero_point: Option<u8>) -> Option<Self> {
        Some(Self { bits: 6, levels: Levels::Linear, zero_point, group: UNIT })
    }

    /// Linear quants of seven or eight bits, one scale per unit.
    pub(super) const fn bytes(zero_point: Option<u8>) -> Option<Self> {
        Some(Self { bits: 8, levels: Levels::Linear, zero_point, group: UNIT })
    }

    /// Quants of four bits that a table decodes, one scale per `group` weights.
    pub(super) const fn table(table: &'static [i8; 16], group: usize) -> Option<Self> {
        Some(Self { bits: 4, levels: Levels::Table(table), zero_point: None, group })
    }

    /// True if each scale has an offset.
    pub fn has_offsets(&self) -> bool {
        self.levels == Levels::Linear && self.zero_point.is_none()
    }
}

/// Quants of a unit of 32 weights, and the parameters that decode them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntegerUnit {
    /// One quant per weight.
    pub quants: [u8; UNIT],
    /// Scales of the two halves, equal unless groups have 16 weights.
    pub scales: [f32; 2],
    /// Offsets of the two halves, zero in formats without offsets.
    pub offsets: [f32; 2],
    /// Curve of [`Levels::Cubic`], which replaces scale and offset.
    pub curve: Curve,
}

/// The two bytes of a T4 block that decode its quants:
/// `scale · (u + bend · u³ + shift)` with `u = quant − 7.5`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Curve(pub u16);

impl Curve {
    /// Scale, bend and shift; finite for every bit pattern.
    #[inline(always)]
    pub fn scale_bend_shift(self) -> [f32; 3] {
        let bits = u32::from(self.0);
        let scale = f32::from_bits((103 << 23) + ((bits >> 8) << 20));
        [scale, (bits & 7) as f32 / 256.0, ((bits >> 3) & 31) as f32 / 4.0 - 4.0]
    }
}

impl IntegerUnit {
    /// A unit of zero weights.
    pub const ZERO: Self =
        Self { quants: [0; UNIT], scales: [0.0; 2], offsets: [0.0; 2], curve: Curve(0) };
    /// Zero point of [`IntegerUnit::rounded`].
    pub(super) const MIDDLE: u8 = 128;

    /// A unit with one scale.
    pub(super) fn new(quants: [u8; UNIT], scale: f32, offset: f32) -> Self {
        Self { quants, scales: [scale; 2], offsets: [offset; 2], curve: Curve(0) }
    }

    /// A unit without offsets, with a scale for each half.
    pub(super) fn halves(quants: [u8; UNIT], scales: [f32; 2]) -> Self {
        Self { quants, scales, ..Self::ZERO }
    }

    /// Rounds at most 32 weights to 255 evenly spaced levels, symmetric around zero: an
    /// approximation for formats whose levels are not evenly spaced.
    pub(super) fn rounded(weights: &[f32]) -> Self {
        let greatest = weights.iter().fold(0.0f32, |greatest, weight| greatest.max(weight.abs()));
        let (scale, inverse) =
            if greatest > 0.0 { (greatest / 127.0, 127.0 / greatest) } else { (0.0, 0.0) };
        let mut quants = [Self::MIDDLE; UNIT];
        for (quant, weight) in quants.iter_mut().zip(weights) {
            *quant = (128.0 + (weight * inverse).round_ties_even()) as u8;
        }
        Self::new(quants, scale, 0.0)
    }
}
