//! Integers of four or eight bits, with a scale and a zero point per group of 32, 64 or 128
//! weights; weight = (quant - zero point) · scale. The schemes of compressed-tensors, AWQ and GPTQ
//! are read in these formats.
//!
//! Stored block, one group: scale and zero point, both F16, BF16 or F32; then the quants. Of each
//! 32 four-bit quants, quant `i` is the low and quant `16 + i` the high nibble of byte `i`;
//! eight-bit quants are signed. In every encoding the zero points that occur (-128 to 256) are
//! exact.
//!
//! Plane 0 (`vec4<u32>`): 4-bit quants one per unit, nibbles in the order of [`bits`]; 8-bit
//! quants two per unit, the bytes in order. Plane 1 (`u32`, one per block, two if F32): scale, then
//! zero point.

use super::bits;
use super::bits::UNIT;
use super::integers::{IntegerQuants, IntegerUnit};
use super::rules::{FloatKind, WeightFormat};
use super::{bf16, f16, f32};

/// One of the formats of grouped integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Int {
    /// Index into [`NAMES`]: bits, then group size, then encoding of scales.
    index: u8,
}

/// Names with bits, group size and encoding of scales, which `tablm quantize` writes.
const NAMES: [&str; 18] = [
    "INT4_32_F16",
    "INT4_32_BF16",
    "INT4_32_F32",
    "INT4_64_F16",
    "INT4_64_BF16",
    "INT4_64_F32",
    "INT4_128_F16",
    "INT4_128_BF16",
    "INT4_128_F32",
    "INT8_32_F16",
    "INT8_32_BF16",
    "INT8_32_F32",
    "INT8_64_F16",
    "INT8_64_BF16",
    "INT8_64_F32",
    "INT8_128_F16",
    "INT8_128_BF16",
    "INT8_128_F32",
];
/// Encodings of scales and zero points.
const ENCODINGS: [FloatKind; 3] = [FloatKind::F16, FloatKind::BF16, FloatKind::F32];

impl Int {
    /// Formats that tests and documents list: each number of bits, group size and encoding.
    pub(super) const TESTED: [Int; 6] = [
        Int { index: 0 },
        Int { index: 4 },
        Int { index: 8 },
        Int { index: 10 },
        Int { index: 14 },
        Int { index: 15 },
    ];

    /// The format with quants of `bits` bits (4 or 8) in groups of `group` weights (32, 64 or 128),
    /// with scales in F16, BF16 or F32; `None` for others.
    pub fn new(bits: usize, group: usize, scales: FloatKind) -> Option<Int> {
        let bits = [4, 8].iter().position(|&known| known == bits)?;
        let group = [32, 64, 128].iter().position(|&known| known == group)?;
        let encoding = ENCODINGS.iter().position(|&known| known == scales)?;
        Some(Int { index: (9 * bits + 3 * group + encoding) as u8 })
    }

    pub(super) const fn name(self) -> &'static str {
        NAMES[self.index as usize]
    }

    /// The format with that [`Int::name`].
    pub(super) fn from_name(name: &str) -> Option<Int> {
        let index = NAMES.iter().position(|&known| known == name)?;
        Some(Int { index: index as u8 })
    }

    /// True if quants have eight bits.
    fn has_bytes(self) -> bool {
        self.index >= 9
    }

    /// Encoding of the scales.
    fn encoding(self) -> FloatKind {
        ENCODINGS[usize::from(self.index % 3)]
    }

    fn float_rules(self) -> &'static dyn WeightFormat {
        match self.encoding() {
            FloatKind::F16 => &f16::F16,
            FloatKind::BF16 => &bf16::BF16,
            FloatKind::F32 => &f32::F32,
        }
    }

    /// Appends a number in F16, BF16 or F32, rounded to the nearest.
    pub fn push_float(kind: FloatKind, value: f32, stored: &mut Vec<u8>) {
        match kind {
            FloatKind::F16 => stored.extend(half::f16::from_f32(value).to_le_bytes()),
            FloatKind::BF16 => stored.extend(half::bf16::from_f32(value).to_le_bytes()),
            FloatKind::F32 => stored.extend(value.to_le_bytes()),
        }
    }

    /// Appends a block of quants from 0 on.
    pub fn push_block(self, quants: &[u8], scale: f32, zero: i32, stored: &mut Vec<u8>) {
        let middle = if self.has_bytes() { 128 } else { 0 };
        for number in [scale, (zero - middle) as f32] {
            Int::push_float(self.encoding(), number, stored);
        }
        for unit in quants.chunks_exact(UNIT) {
            match self.has_bytes() {
                true => stored.extend(unit.iter().map(|quant| quant ^ 0x80)),
                false => stored.extend((0..UNIT / 2).map(|i| unit[i] | unit[UNIT / 2 + i] << 4)),
            }
        }
    }

    /// Bytes of a scale and a zero point.
    fn pair_bytes(self) -> usize {
        2 * self.float_rules().block_bytes()
    }

    /// Bytes of the quants of a unit.
    fn unit_bytes(self) -> usize {
        if self.has_bytes() { UNIT } else { bits::NIBBLES }
    }

    /// Decodes a scale and a zero point.
    fn scale_and_zero(self, pair: &[u8]) -> [f32; 2] {
        let mut values = [0.0; 2];
        self.float_rules().dequantize_row(pair, &mut values);
        values
    }

    /// Quants of a unit, from 0 on, and the number that is to be added to the zero point.
    fn quants(self, stored: &[u8]) -> ([u8; UNIT], f32) {
        if self.has_bytes() {
            (std::array::from_fn(|i| stored[i] ^ 0x80), 128.0)
        } else {
            (bits::nibbles(stored), 0.0)
        }
    }

    /// Calls `each` with the quants, the scale and the zero point of each unit of a row.
    fn units(self, stored: &[u8], each: &mut dyn FnMut(usize, [u8; UNIT], f32, f32)) {
        let mut index = 0;
        for block in stored.chunks_exact(self.block_bytes()) {
            let (pair, quants) = block.split_at(self.pair_bytes());
            let [scale, zero] = self.scale_and_zero(pair);
            for stored in quants.chunks_exact(self.unit_bytes()) {
                let (quants, middle) = self.quants(stored);
                each(index, quants, scale, zero + middle);
                index += 1;
            }
        }
    }
}

impl WeightFormat for Int {
    fn block_weights(&self) -> usize {
        UNIT << (self.index / 3 % 3)
    }

    fn block_bytes(&self) -> usize {
        self.pair_bytes() + self.block_weights() / UNIT * self.unit_bytes()
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        self.units(stored, &mut |index, quants, scale, zero| {
            for (value, quant) in out[index * UNIT..][..UNIT].iter_mut().zip(quants) {
                *value = (f32::from(quant) - zero) * scale;
            }
        });
    }

    fn integers(&self) -> Option<IntegerQuants> {
        if self.has_bytes() { IntegerQuants::bytes(None) } else { IntegerQuants::nibbles(None) }
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        self.units(stored, &mut |index, quants, scale, zero| {
            units[index] = IntegerUnit::new(quants, scale, -zero * scale);
        });
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        let blocks = (units * UNIT).div_ceil(self.block_weights());
        vec![units * self.unit_bytes(), blocks * self.pair_bytes()]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [quants, pairs] = planes else { return };
        let pairs = pairs.chunks_exact_mut(self.pair_bytes());
        let mut units = quants.chunks_exact_mut(self.unit_bytes());
        for (block, pair) in stored.chunks_exact(self.block_bytes()).zip(pairs) {
            let (stored_pair, stored_quants) = block.split_at(self.pair_bytes());
            pair.copy_from_slice(stored_pair);
            for (stored, unit) in stored_quants.chunks_exact(self.unit_bytes()).zip(&mut units) {
                if self.has_bytes() {
                    unit.copy_from_slice(stored);
                } else {
                    bits::put_block32(unit, stored);
                }
            }
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        let mut blocks = stored.chunks_exact(self.block_bytes());
        blocks.all(|block| self.float_rules().is_finite(&block[..self.pair_bytes()]))
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(if self.has_bytes() { 8 } else { 4 })
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/int.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("INT_BITS", if self.has_bytes() { 8.0 } else { 4.0 }),
            ("INT_GROUP", self.block_weights() as f64),
            ("INT_SCALES", (self.index % 3).into()),
        ]
    }
}
