//! MLX's affine formats: quants of four or eight bits, with a scale and a bias per group of 32, 64
//! or 128 weights; weight = quant · scale + bias. Source: `mlx.core.quantize`, mode "affine".
//!
//! Stored block, one group: scale and bias, both F16, BF16 or F32; then the quants. Of two 4-bit
//! quants in a byte, the first is the low nibble.
//!
//! Plane 0 (`vec4<u32>`): 4-bit quants one per unit, nibbles in the order of [`bits`]; 8-bit
//! quants two per unit, the bytes in order. Plane 1 (`u32`, one per block, two if F32): scale, then
//! bias.

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
    /// One format per number of bits and group size, and one with F32 scales.
    pub(super) const TESTED: [Mlx; 7] = [
        Mlx { bits: 4, group: 32, scales: MlxScales::F16 },
        Mlx { bits: 4, group: 64, scales: MlxScales::BF16 },
        Mlx { bits: 4, group: 128, scales: MlxScales::BF16 },
        Mlx { bits: 8, group: 32, scales: MlxScales::BF16 },
        Mlx { bits: 8, group: 64, scales: MlxScales::F16 },
        Mlx { bits: 8, group: 128, scales: MlxScales::BF16 },
        Mlx { bits: 4, group: 64, scales: MlxScales::F32 },
    ];

    /// The format with quants of `bits` bits (4 or 8) in groups of `group` weights (32, 64 or 128);
    /// `None` for other sizes.
    pub fn new(bits: usize, group: usize, scales: MlxScales) -> Option<Mlx> {
        let known = matches!(bits, 4 | 8) && matches!(group, 32 | 64 | 128);
        known.then_some(Mlx { bits: bits as u8, group: group as u8, scales })
    }

    /// Name with bits, group size and encoding of scales: `tablm quantize` writes it.
    pub(super) const fn name(self) -> &'static str {
        match (self.bits, self.group, self.scales) {
            (4, 32, MlxScales::F16) => "MLX4_32_F16",
            (4, 32, MlxScales::BF16) => "MLX4_32_BF16",
            (4, 32, MlxScales::F32) => "MLX4_32_F32",
            (4, 64, MlxScales::F16) => "MLX4_64_F16",
            (4, 64, MlxScales::BF16) => "MLX4_64_BF16",
            (4, 64, MlxScales::F32) => "MLX4_64_F32",
            (4, _, MlxScales::F16) => "MLX4_128_F16",
            (4, _, MlxScales::BF16) => "MLX4_128_BF16",
            (4, _, MlxScales::F32) => "MLX4_128_F32",
            (_, 32, MlxScales::F16) => "MLX8_32_F16",
            (_, 32, MlxScales::BF16) => "MLX8_32_BF16",
            (_, 32, MlxScales::F32) => "MLX8_32_F32",
            (_, 64, MlxScales::F16) => "MLX8_64_F16",
            (_, 64, MlxScales::BF16) => "MLX8_64_BF16",
            (_, 64, MlxScales::F32) => "MLX8_64_F32",
            (_, _, MlxScales::F16) => "MLX8_128_F16",
            (_, _, MlxScales::BF16) => "MLX8_128_BF16",
            (_, _, MlxScales::F32) => "MLX8_128_F32",
        }
    }

    /// The format with that [`Mlx::name`].
    pub(super) fn from_name(name: &str) -> Option<Mlx> {
        let sizes = [(4, 32), (4, 64), (4, 128), (8, 32), (8, 64), (8, 128)];
        let scales = [MlxScales::F16, MlxScales::BF16, MlxScales::F32];
        let all = sizes.into_iter().flat_map(|size| scales.map(|scales| (size, scales)));
        let mut all = all.map(|((bits, group), scales)| Mlx { bits, group, scales });
        all.find(|mlx| mlx.name() == name)
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

    /// Reads the quant of weight `i`.
    fn quant(&self, quants: &[u8], i: usize) -> u8 {
        if self.bits == 8 { quants[i] } else { (quants[i / 2] >> (4 * (i % 2))) & 15 }
    }
}

/// Reorders a word whose nibble `i` is weight `i` to the nibble order of [`bits`].
fn reorder(word: u32) -> u32 {
    // Moves each of four nibbles to a byte of its own.
    let spread = |half: u32| {
        let pairs = (half | (half << 8)) & 0x00ff_00ff;
        (pairs | (pairs << 4)) & 0x0f0f_0f0f
    };
    spread(word & 0xffff) | (spread(word >> 16) << 4)
}

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
            let (pair, quants) = block.split_at(self.pair_bytes());
            let [scale, bias] = self.scale_and_bias(pair);
            for (i, value) in values.iter_mut().enumerate() {
                *value = f32::from(self.quant(quants, i)) * scale + bias;
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        if self.bits == 8 { IntegerQuants::bytes(None) } else { IntegerQuants::nibbles(None) }
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        let blocks = stored.chunks_exact(self.block_bytes());
        for (units, block) in units.chunks_mut(self.block_weights() / UNIT).zip(blocks) {
            let (pair, quants) = block.split_at(self.pair_bytes());
            let [scale, bias] = self.scale_and_bias(pair);
            let unit_quants = quants.chunks_exact(self.quant_bytes(UNIT));
            for (unit, stored) in units.iter_mut().zip(unit_quants) {
                let quants = std::array::from_fn(|i| self.quant(stored, i));
                *unit = IntegerUnit::new(quants, scale, bias);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![
            self.quant_bytes(units * UNIT),
            (units * UNIT).div_ceil(self.block_weights()) * self.pair_bytes(),
        ]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [quants, pairs] = planes else { return };
        let pairs = pairs.chunks_exact_mut(self.pair_bytes());
        let quants = quants.chunks_exact_mut(self.quant_bytes(self.block_weights()));
        for ((block, pair), quants) in
            stored.chunks_exact(self.block_bytes()).zip(pairs).zip(quants)
        {
            let (stored_pair, stored_quants) = block.split_at(self.pair_bytes());
            pair.copy_from_slice(stored_pair);
            if self.bits == 8 {
                quants.copy_from_slice(stored_quants);
                continue;
            }
            for (quants, stored) in quants.chunks_exact_mut(4).zip(stored_quants.chunks_exact(4)) {
                bits::put_word(quants, 0, reorder(bits::word(stored, 0)));
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
