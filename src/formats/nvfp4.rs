//! NVFP4: groups of 16 four-bit floats (E2M1) with an eight-bit scale (E4M3) each;
//! weight = number · scale. NVFP4_F32 has a factor and a divisor per row, too, in f32;
//! weight = number · (scale · factor / divisor). Sources: ggml, which states numbers doubled and
//! scales halved; compressed-tensors, which divides, and ModelOpt, which multiplies by a number per
//! matrix.
//!
//! Stored block of NVFP4, 36 bytes: four scales, then eight bytes per group with number `i` in the
//! low and number `8 + i` in the high nibble of byte `i`. As in ggml, the scale 0x7f counts as
//! zero, and the highest bit of other scales is ignored.
//!
//! Stored row of NVFP4_F32: factor, divisor, then blocks of nine bytes: scale, and numbers in
//! order, the low nibble first. The scales 0x7f and 0xff are NaN.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`): the
//! factor divided by the divisor, if there are any (rounded to f32, because adapters divide
//! inexactly), then one word of scales per two units; those of NVFP4 without sign, and zero in
//! place of 0x7f.

use super::bits;
use super::f8_e4m3::{are_numbers, number};
use super::integers::{IntegerQuants, IntegerUnit};
use super::mxfp4::DOUBLED;
use super::rules::WeightFormat;

const BYTES: usize = 36;
const WEIGHTS: usize = 64;
/// Bytes of scales at the start of a stored block.
const SCALES: usize = 4;
/// Scale that counts as zero: not a number in E4M3.
const NAN: u8 = 0x7f;

pub(super) struct Nvfp4;

/// Half of a group's scale.
fn half_scale(byte: u8) -> f32 {
    if byte == NAN { 0.0 } else { number(byte & 0x7f) / 2.0 }
}

/// Quants of the two units of a block.
fn quants(block: &[u8]) -> [[u8; 32]; 2] {
    let mut units = [[0; 32]; 2];
    let groups = units.as_flattened_mut().chunks_exact_mut(16);
    for (group, bytes) in groups.zip(block[SCALES..].chunks_exact(8)) {
        let (low, high) = group.split_at_mut(8);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
            (*low, *high) = (byte & 15, byte >> 4);
        }
    }
    units
}

impl WeightFormat for Nvfp4 {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let units = quants(block);
            for (i, (value, number)) in values.iter_mut().zip(units.as_flattened()).enumerate() {
                *value = half_scale(block[i / 16]) * f32::from(DOUBLED[usize::from(*number)]);
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::table(&DOUBLED, 16)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (units, block) in units.chunks_mut(2).zip(stored.chunks_exact(BYTES)) {
            for (index, (unit, quants)) in units.iter_mut().zip(quants(block)).enumerate() {
                let scale = |half: usize| half_scale(block[2 * index + half]);
                *unit = IntegerUnit::halves(quants, [scale(0), scale(1)]);
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * bits::NIBBLES, units.div_ceil(2) * SCALES]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, scales] = planes else { return };
        let blocks = nibbles.chunks_exact_mut(2 * bits::NIBBLES);
        let blocks = blocks.zip(scales.chunks_exact_mut(SCALES));
        for ((nibbles, scales), block) in blocks.zip(stored.chunks_exact(BYTES)) {
            for (unit, quants) in nibbles.chunks_exact_mut(bits::NIBBLES).zip(quants(block)) {
                bits::put_nibbles(unit, bits::eights(&quants));
            }
            for (scale, byte) in scales.iter_mut().zip(block) {
                *scale = if *byte == NAN { 0 } else { byte & 0x7f };
            }
        }
    }

    fn is_finite(&self, _stored: &[u8]) -> bool {
        true
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(4)
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/nvfp4.wgsl")
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("NVFP4_HEADER", 0.0)]
    }
}

/// Bytes of factor and divisor, and of their quotient.
const HEADER: usize = 8;
const FACTOR: usize = 4;
/// The scale 1.
const ONE: u8 = 7 << 3;
const GROUP: usize = 16;
/// Bytes of a group with its scale.
const GROUP_BYTES: usize = 1 + GROUP / 2;

pub(super) struct Nvfp4F32;

impl Nvfp4F32 {
    /// Scale of a group of the row with that header.
    fn scale(header: &[u8], byte: u8) -> f32 {
        let [factor, divisor] = [0, 1].map(|index| f32::from_bits(bits::word(header, index)));
        number(byte) * factor / divisor
    }
}

impl WeightFormat for Nvfp4F32 {
    fn row_header_bytes(&self) -> usize {
        HEADER
    }

    fn block_weights(&self) -> usize {
        GROUP
    }

    fn block_bytes(&self) -> usize {
        GROUP_BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        let (header, groups) = stored.split_at(HEADER);
        let groups = groups.chunks_exact(GROUP_BYTES);
        for (values, group) in out.chunks_exact_mut(GROUP).zip(groups) {
            let scale = Self::scale(header, group[0]);
            for (i, value) in values.iter_mut().enumerate() {
                let number = (group[1 + i / 2] >> (4 * (i % 2))) & 15;
                *value = f32::from(DOUBLED[usize::from(number)]) / 2.0 * scale;
            }
        }
    }

    fn integers(&self) -> Option<IntegerQuants> {
        IntegerQuants::table(&DOUBLED, GROUP)
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        let (header, groups) = stored.split_at(HEADER);
        for (unit, groups) in units.iter_mut().zip(groups.chunks(2 * GROUP_BYTES)) {
            *unit = IntegerUnit::ZERO;
            for (half, group) in groups.chunks_exact(GROUP_BYTES).enumerate() {
                unit.scales[half] = Self::scale(header, group[0]) / 2.0;
                for (pair, byte) in unit.quants[GROUP * half..].chunks_mut(2).zip(&group[1..]) {
                    (pair[0], pair[1]) = (byte & 15, byte >> 4);
                }
            }
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * bits::NIBBLES, FACTOR + units.div_ceil(2) * SCALES]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let [nibbles, scales] = planes else { return };
        let (header, groups) = stored.split_at(HEADER);
        let (factor, scales) = scales.split_at_mut(FACTOR);
        factor.copy_from_slice(&Self::scale(header, ONE).to_le_bytes());
        let halves = nibbles.chunks_exact_mut(bits::NIBBLES / 2).zip(scales.iter_mut());
        for ((half, scale), group) in halves.zip(groups.chunks_exact(GROUP_BYTES)) {
            *scale = group[0];
            bits::put_stream(half, &group[1..]);
        }
    }

    fn is_finite(&self, stored: &[u8]) -> bool {
        let (header, groups) = stored.split_at(HEADER);
        let scales = || groups.chunks_exact(GROUP_BYTES).map(|group| &group[..1]);
        let greatest = scales().fold(0, |greatest, scale| greatest.max(scale[0] & 0x7f));
        let largest = Self::scale(header, greatest) * f32::from(DOUBLED[7]);
        let divisor = f32::from_bits(bits::word(header, 1));
        scales().all(are_numbers) && largest.is_finite() && divisor.is_finite()
    }

    fn quant_bits(&self) -> Option<u32> {
        Some(4)
    }

    fn shader(&self) -> &'static str {
        Nvfp4.shader()
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("NVFP4_HEADER", 1.0)]
    }
}
