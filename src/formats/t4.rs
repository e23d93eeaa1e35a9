//! T4, TabLM's own format: blocks of 32 four-bit quants on a cubic curve, 4.5 bits per weight;
//! weight = scale · (u + bend · u³ + shift) with u = quant − 7.5.
//!
//! The weights of a block cluster around some value, with a few outliers. Bend places levels
//! closer together in the middle, shift moves the middle away from zero. Sixteen bits suffice for
//! scale, bend and shift because they are searched together with the quants: a coarse scale costs
//! less accuracy than evenly spaced, centered levels (docs/measurements/quantization.md).
//!
//! Stored block, 18 bytes: u16 head, 16 bytes with quant `i` in the low and quant `16 + i` in the
//! high nibble of byte `i`. Head: bits 0–2 bend in 1/256; bits 3–7 shift in 1/4, plus 16;
//! bits 8–10 mantissa and bits 11–15 exponent, plus 24, of the scale. Every head is a finite
//! curve, and the weights are exact in f32 in any order of evaluation.
//!
//! Plane 0 (`vec4<u32>`, one per unit): nibbles in the order of [`bits`]. Plane 1 (`u32`): heads,
//! two per word.

use super::bits;
use super::integers::{Curve, IntegerQuants, IntegerUnit, Levels};
use super::rules::WeightFormat;

const BYTES: usize = 18;
const WEIGHTS: usize = 32;
const LEVELS: usize = 16;
/// Bits of the f32 that scale byte 0 encodes.
const SMALLEST_SCALE: u32 = 103 << 23;
/// Largest weight with evenly spaced, centered levels (bend 0, shift 0) at the largest scale.
const LARGEST_WEIGHT: f32 = 240.0 * 7.5;
/// Counts of bends and shifts that a head can encode.
const BENDS: i32 = 8;
const SHIFTS: i32 = 32;
/// Local searches per block, from the best starting points: a third one reduces the error by 1 %
/// and takes a third longer.
const DESCENTS: usize = 2;
/// Limit of a local search's steps, which in practice ends much earlier.
const MAX_STEPS: usize = 64;

/// Fields of a block's head, as stored.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Head {
    bend: i32,
    shift: i32,
    scale: i32,
}

impl Head {
    fn read(block: &[u8]) -> Self {
        let (low, high) = (i32::from(block[0]), i32::from(block[1]));
        Self { bend: low & 7, shift: low >> 3, scale: high }
    }

    fn bytes(self) -> [u8; 2] {
        [(self.bend | (self.shift << 3)) as u8, self.scale as u8]
    }

    fn scale(self) -> f32 {
        f32::from_bits(SMALLEST_SCALE + ((self.scale as u32) << 20))
    }

    /// Encodes the largest scale that is not above `scale`.
    fn scale_below(scale: f32) -> i32 {
        ((scale.to_bits() as i32 - SMALLEST_SCALE as i32) >> 20).clamp(0, 255)
    }

    fn shift(self) -> f32 {
        (self.shift - 16) as f32 / 4.0
    }

    /// Last level before shift and scale; the first is its negative.
    fn end(self) -> f32 {
        7.5 + self.bend as f32 / 256.0 * (7.5 * 7.5 * 7.5)
    }

    /// The sixteen levels before shift and scale, in ascending order.
    fn levels(self) -> [f32; LEVELS] {
        let bend = self.bend as f32 / 256.0;
        std::array::from_fn(|nibble| {
            let u = nibble as f32 - 7.5;
            u + bend * u * u * u
        })
    }
}

/// Nearest quants of a block's values for a given head, and their error.
struct Fit {
    head: Head,
    nibbles: [i32; WEIGHTS],
    /// Sum of squared errors.
    error: f32,
}

impl Fit {
    fn new(values: &[f32; WEIGHTS], head: Head) -> Self {
        let (levels, scale, shift) = (head.levels(), head.scale(), head.shift());
        let inverse = 1.0 / scale;
        let targets = values.map(|value| value * inverse - shift);
        let mut nibbles = [0; WEIGHTS];
        for pair in levels.windows(2) {
            let middle = (pair[0] + pair[1]) / 2.0;
            for (nibble, target) in nibbles.iter_mut().zip(&targets) {
                *nibble += i32::from(*target > middle);
            }
        }
        let bend = head.bend as f32 / 256.0;
        let mut lanes = [0.0; 8];
        for (nibbles, targets) in nibbles.chunks_exact(8).zip(targets.chunks_exact(8)) {
            for lane in 0..8 {
                let u = nibbles[lane] as f32 - 7.5;
                let error = u + bend * u * u * u - targets[lane];
                lanes[lane] += error * error;
            }
        }
        let error = lanes.iter().sum::<f32>() * scale * scale;
        Self { head, nibbles, error }
    }

    /// The fit with the smaller error.
    fn min(self, other: Self) -> Self {
        if other.error < self.error { other } else { self }
    }
}

/// Smallest and largest value of a block.
struct Range {
    low: f32,
    high: f32,
}

impl Range {
    fn of(values: &[f32; WEIGHTS]) -> Self {
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        Self { low, high: values.iter().copied().fold(f32::NEG_INFINITY, f32::max) }
    }

    /// The head of that bend and shift whose levels just about cover the range. The best scale is
    /// rarely more than one step away.
    fn covering_head(&self, bend: i32, shift: i32) -> Head {
        let head = Head { bend, shift, scale: 0 };
        let (end, shift) = (head.end(), head.shift());
        let scale = (self.high / (end + shift)).max(-self.low / (end - shift));
        // The encoding truncates; 1.02 keeps a scale that is only just below the next step.
        Head { scale: Head::scale_below(scale.max(0.0) * 1.02), ..head }
    }

    /// The shift that centers the levels on the range.
    fn centering_shift(&self, bend: i32) -> i32 {
        let end = Head { bend, ..Head::default() }.end();
        let (middle, radius) = ((self.low + self.high) / 2.0, (self.high - self.low) / 2.0);
        let scale = (radius / end).max((middle.abs() + radius) / (end + 3.75));
        if scale > 0.0 { (4.0 * middle / scale).round() as i32 + 16 } else { 16 }
    }
}

/// Searches for the best head: all bends at three shifts each, then local searches from the best
/// of these.
fn fit(values: &[f32; WEIGHTS]) -> Fit {
    let range = Range::of(values);
    let starts = (0..BENDS).flat_map(|bend| {
        let middle = range.centering_shift(bend);
        [0, -4, 4].map(|offset| range.covering_head(bend, (middle + offset).clamp(0, SHIFTS - 1)))
    });
    let mut starts: Vec<Fit> = starts.map(|head| Fit::new(values, head)).collect();
    starts.sort_by(|a, b| a.error.total_cmp(&b.error));
    let found = starts.into_iter().take(DESCENTS).map(|start| descend(values, &range, start));
    found.reduce(Fit::min).unwrap_or_else(|| Fit::new(values, Head::default()))
}

/// Moves to better neighboring heads until there are none.
fn descend(values: &[f32; WEIGHTS], range: &Range, mut best: Fit) -> Fit {
    for _ in 0..MAX_STEPS {
        let center = best.head;
        for (bend, shift) in [(0, 1), (0, -1), (1, 0), (-1, 0)] {
            let (bend, shift) = (center.bend + bend, center.shift + shift);
            if (0..BENDS).contains(&bend) && (0..SHIFTS).contains(&shift) {
                best = best.min(Fit::new(values, range.covering_head(bend, shift)));
            }
        }
        for step in [-1, 1] {
            let scale = (best.head.scale + step).clamp(0, 255);
            let head = Head { scale, ..best.head };
            best = best.min(Fit::new(values, head));
        }
        if best.head == center {
            break;
        }
    }
    best
}

pub(super) struct T4;

impl WeightFormat for T4 {
    fn block_weights(&self) -> usize {
        WEIGHTS
    }

    fn block_bytes(&self) -> usize {
        BYTES
    }

    fn dequantize_row(&self, stored: &[u8], out: &mut [f32]) {
        for (values, block) in out.chunks_exact_mut(WEIGHTS).zip(stored.chunks_exact(BYTES)) {
            let head = Head::read(block);
            let (scale, shift) = (head.scale(), head.shift());
            let levels = head.levels().map(|level| scale * (level + shift));
            let (low, high) = values.split_at_mut(WEIGHTS / 2);
            for ((low, high), &byte) in low.iter_mut().zip(high).zip(&block[2..]) {
                *low = levels[usize::from(byte & 15)];
                *high = levels[usize::from(byte >> 4)];
            }
        }
    }

    fn quantize(&self, values: &[f32], block: &mut [u8]) -> bool {
        let Some(values) = values.first_chunk::<WEIGHTS>() else { return false };
        if values.iter().any(|value| value.abs() > LARGEST_WEIGHT) {
            return false;
        }
        let Fit { head, nibbles, .. } = fit(values);
        block[..2].copy_from_slice(&head.bytes());
        for (i, byte) in block[2..].iter_mut().enumerate() {
            *byte = (nibbles[i] | (nibbles[i + WEIGHTS / 2] << 4)) as u8;
        }
        true
    }

    fn integers(&self) -> Option<IntegerQuants> {
        Some(IntegerQuants { bits: 4, levels: Levels::Cubic, zero_point: None, group: WEIGHTS })
    }

    fn integer_units(&self, stored: &[u8], units: &mut [IntegerUnit]) {
        for (unit, block) in units.iter_mut().zip(stored.chunks_exact(BYTES)) {
            unit.quants = bits::nibbles(&block[2..]);
            unit.curve = Curve(u16::from_le_bytes([block[0], block[1]]));
        }
    }

    fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
        let units = bits::units(columns);
        vec![units * 16, bits::halves_bytes(units)]
    }

    fn repack_row(&self, _columns: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
        let blocks = stored.chunks_exact(BYTES);
        bits::put_halves(planes[1], blocks.clone(), 0);
        for (unit, block) in planes[0].chunks_exact_mut(bits::NIBBLES).zip(blocks) {
            bits::put_block32(unit, &block[2..]);
        }
    }

    fn is_finite(&self, _stored: &[u8]) -> bool {
        true
    }

    fn shader(&self) -> &'static str {
        include_wgsl!("../../shaders/formats/t4.wgsl")
    }
}
