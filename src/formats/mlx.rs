//! MLX's affine formats: quants of two to six or eight bits, with a scale and a bias per group of
//! 32, 64 or 128 weights; weight = quant · scale + bias. Source: `mlx.core.quantize`, mode
//! "affine".
//!
//! Stored block, one group: scale and bias, both F16, BF16 or F32; then the quants, a stream of
//! bits whose first is the lowest of the first byte.
//!
//! Plane 0 (`vec4<u32>`): the low bits of quants. Quants of four to six bits have their low four
//! bits there, one vector per unit, nibbles in the order of [`bits`]; quants of two or three bits
//! their low two bits, one vector per two units, [`bits::put_pairs`]; quants of eight bits two
//! vectors per unit, the bytes in order. Plane 1 (`u32`, per block): scale and bias in one word,
//! two if F32; then for each unit the bits above: one word for three and five bits, bit `8i + k`
//! for weight `4k + i`; two words of bit pairs for six.

use super::bits::UNIT;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::WeightFormat;
use super::{bf16, bits, f16, f32};

/// One of MLX's affine formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mlx {
    bits: u8,
    group: u8,
    scales: MlxScales,
}

/// Encoding of scales and biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "names of float formats")]
pub enum MlxScales {
    F16,
    BF16,
    F32,
}

impl MlxScales {
    fn rules(self) -> &'static dyn WeightFormat {
        match self {
            MlxScales::F16 => &f16::F16,
            MlxScales::BF16 => &bf16::BF16,
            MlxScales::F32 => &f32::F32,
        }
    }
}

impl Mlx {
    /// Formats with every number of bits, group size and encoding of scales, in some of the
    /// combinations.
    pub(super) const TESTED: [Mlx; 15] = [
        Mlx { bits: 2, group: 32, scales: MlxScales::F16 },
        Mlx { bits: 2, group: 64, scales: MlxScales::BF16 },
        Mlx { bits: 3, group: 64, scales: MlxScales::F16 },
        Mlx { bits: 3, group: 128, scales: MlxScales::BF16 },
        Mlx { bits: 4, group: 32, scales: MlxScales::F16 },
        Mlx { bits: 4, group: 64, scales: MlxScales::BF16 },
        Mlx { bits: 4, group: 128, scales: MlxScales::BF16 },
        Mlx { bits: 5, group: 32, scales: MlxScales::F32 },
        Mlx { bits: 5, group: 64, scales: MlxScales::BF16 },
        Mlx { bits: 6, group: 64, scales: MlxScales::F16 },
        Mlx { bits: 6, group: 128, scales: MlxScales::BF16 },
        Mlx { bits: 8, group: 32, scales: MlxScales::BF16 },
        Mlx { bits: 8, group: 64, scales: MlxScales::F16 },
        Mlx { bits: 8, group: 128, scales: MlxScales::BF16 },
        Mlx { bits: 4, group: 64, scales: MlxScales::F32 },
    ];

    /// The format with quants of `bits` bits (2 to 6, or 8) in groups of `group` weights (32, 64 or
    /// 128); `None` for other sizes.
    pub fn new(bits: usize, group: usize, scales: MlxScales) -> Option<Mlx> {
        let known = matches!(bits, 2..=6 | 8) && matches!(group, 32 | 64 | 128);
        known.then_some(Mlx { bits: bits as u8, group: group as u8, scales })
    }

    /// Name with bits, group size and encoding of scales: `tablm quantize` writes it.
    pub(super) const fn name(self) -> &'static str {
        let bits = if self.bits == 8 { 7 } else { self.bits };
        NAMES[bits as usize - 2][self.group as usize / 64][self.scales as usize]
    }

    /// The format with that [`Mlx::name`].
    pub(super) fn from_name(name: &str) -> Option<Mlx> {
        let names = NAMES.iter().flatten().flatten();
        let index = names.zip(0..).find_map(|(other, index)| (*other == name).then_some(index))?;
        let bits = [2, 3, 4, 5, 6, 8][index / 9];
        let scales = [MlxScales::F16, MlxScales::BF16, MlxScales::F32][index % 3];
        Mlx::new(bits, 32 << (index / 3 % 3), scales)
    }

    /// Bytes of a scale and a bias.
    fn pair_bytes(&self) -> usize {
        2 * self.scales.rules().block_bytes()
    }

    /// Bytes of the quants of `weights` weights.
    fn quant_bytes(&self, weights: usize) -> usize {
        weights * usize::from(self.bits) / 8
    }

    /// Decodes a scale and a bias.
    fn scale_and_bias(&self, pair: &[u8]) -> [f32; 2] {
        let mut values = [0.0; 2];
        self.scales.rules().dequantize_row(pair, &mut values);
        values
    }

    /// Bytes of plane 0 that a unit's low bits take.
    fn low_bytes(&self) -> usize {
        match self.bits {
            2 | 3 => bits::PAIRS,
            8 => UNIT,
            _ => bits::NIBBLES,
        }
    }

    /// Words of plane 1 that a unit's high bits take.
    fn high_words(&self) -> usize {
        match self.bits {
            3 | 5 => 1,
            6 => 2,
            _ => 0,
        }
    }

    /// Quants of a unit, one a byte.
    fn quants(&self, stored: &[u8]) -> [u8; UNIT] {
        let mut quants = [0; UNIT];
        let (bits, mask) = (usize::from(self.bits), 0xff >> (8 - self.bits));
        for (quants, stored) in quants.chunks_exact_mut(8).zip(stored.chunks_exact(bits)) {
            let mut word = [0; 8];
            word[..bits].copy_from_slice(stored);
            let word = u64::from_le_bytes(word);
            for (i, quant) in quants.iter_mut().enumerate() {
                *quant = (word >> (bits * i)) as u8 & mask;
            }
        }
        quants
    }

    /// Repacks a unit: its part of plane 0, and the words of its high bits.
    fn repack_unit(&self, stored: &[u8], low: &mut [u8], high: &mut [u8]) {
        if self.bits == 4 {
            return bits::put_stream(low, stored);
        }
        let quants = self.quants(stored);
        let eights = bits::eights(&quants);
        match self.bits {
            8 => low.copy_from_slice(&quants),
            2 | 3 => bits::put_pairs(low, eights),
            _ => bits::put_nibbles(low, eights),
        }
        match self.bits {
            3 => bits::put_word(high, 0, bits::spread_bytes(&quants, 2)),
            5 => bits::put_word(high, 0, bits::spread_bytes(&quants, 4)),
            6 => bits::put_pairs(high, eights.map(|eight| eight >> 4)),
            _ => {}
        }
    }

    /// Splits a stored block into scale, bias and the quants of each unit.
    fn parts(&self, block: &[u8]) -> (f32, f32, impl Iterator<Item = [u8; UNIT]>) {
        let (pair, quants) = block.split_at(self.pair_bytes());
        let [scale, bias] = self.scale_and_bias(pair);
        let units = quants.chunks_exact(self.quant_bytes(UNIT));
        (scale, bias, units.map(|unit| self.quants(unit)))
    }
}

/// Names by bits (2 to 6, 8), group size and encoding of scales.
const NAMES: [[[&str; 3]; 3]; 6] = {
    macro_rules! names {
        ($($bits:literal)+) => {
            [$([
                names!($bits, "32"),
                names!($bits, "64"),
                names!($bits, "128"),
            ]),+]
        };
        ($bits:literal, $group:literal) => {
            [
                concat!("MLX", $bits, "_", $group, "_F16"),
                concat!("MLX", $bits, "_", $group, "_BF16"),
                concat!("MLX", $bits, "_", $group, "_F32"),
            ]
        };
    }
    names!("2" "3" "4" "5" "6" "8")
};

impl WeightFormat for Mlx {
    fn block_weights(&self) -> usize {
        usize::from(self.group)
    }

    fn block_bytes(&self) -> usize {
        self.pair_bytes() + self.quant_bytes(self.block_weights())
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        let blocks = stored.chunks_exact(self.block_bytes());
        for (values, block) in out.chunks_exact_mut(self.block_weights()).zip(blocks) {
            let (scale, bias, units) = self.parts(block);
            for (value, quant) in values.iter_mut().zip(units.flatten()) {
                *value = f32::from(quant) * scale + bias;
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        match self.bits {
            // The form of Q2_K.
            2 => Some(IntegerQuants { group: 16, bits: 2, ..IntegerQuants::nibbles(None)? }),
            3 => Some(IntegerQuants { bits: 3, ..IntegerQuants::nibbles(None)? }),
            4 => IntegerQuants::nibbles(None),
            5 | 6 => IntegerQuants::sixes(None),
            _ => IntegerQuants::bytes(None),
        }
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        let blocks = stored.chunks_exact(self.block_bytes());
        for (units, block) in units.chunks_mut(self.block_weights() / UNIT).zip(blocks) {
            let (scale, bias, quants) = self.parts(block);
            for (unit, quants) in units.iter_mut().zip(quants) {
                *unit = IntegerUnit::new(quants, scale, bias);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        let block_bytes =
            self.pair_bytes() + self.block_weights() / UNIT * self.high_words() * size_of::<u32>();
        vec![
            (units * self.low_bytes()).next_multiple_of(16),
            units / (self.block_weights() / UNIT) * block_bytes,
        ]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [low, blocks] = planes else { return };
        let stored = stored.chunks_exact(self.block_bytes());
        let block_bytes = blocks.len() / stored.len();
        let mut low = low.chunks_exact_mut(self.low_bytes());
        for (stored, block) in stored.zip(blocks.chunks_exact_mut(block_bytes)) {
            let (stored_pair, quants) = stored.split_at(self.pair_bytes());
            let (pair, high) = block.split_at_mut(self.pair_bytes());
            pair.copy_from_slice(stored_pair);
            let units = quants.chunks_exact(self.quant_bytes(UNIT)).zip(&mut low);
            for (index, (stored, low)) in units.enumerate() {
                self.repack_unit(stored, low, &mut high[4 * self.high_words() * index..]);
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        let mut blocks = stored.chunks_exact(self.block_bytes());
        blocks.all(|block| self.scales.rules().is_finite(&block[..self.pair_bytes()]))
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/mlx.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let scales = match self.scales {
            MlxScales::F16 => 0.0,
            MlxScales::BF16 => 1.0,
            MlxScales::F32 => 2.0,
        };
        vec![
            ("MLX_BITS", self.bits.into()),
            ("MLX_GROUP", self.group.into()),
            ("MLX_SCALES", scales),
        ]
    }
}
