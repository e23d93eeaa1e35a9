//! T4, TabLM's own: 32 nibbles on a curve, 4.5 bits a weight;
//! weight = scale · (u + bend · u³ + shift) with u = nibble − 7.5.
//!
//! Weights of a block crowd around some middle and have a few outliers: the curve puts levels
//! closer where the weights are (bend), and need not have zero in its middle (shift). Sixteen bits
//! suffice for all three numbers, because they are chosen together with the nibbles: a coarse scale
//! costs less than a straight and centered ladder does (measurements in ARCHITECTURE.md).
//!
//! Stored block, 18 bytes: u16 head, 16 bytes with weight `i` in the low and weight `16 + i` in the
//! high nibble of byte `i`. Head: bits 0–2 the bend in 1/256; bits 3–7 the shift in 1/4, plus 16;
//! bits 8–10 the mantissa and bits 11–15 the exponent, plus 24, of the scale. Every head is a
//! finite curve, and the weights are exact in f32 in whatever order they are computed.
//! Plane 0 (`vec4<u32>`, one a unit): nibbles in the order of [`bits`]. Plane 1 (`u32`): heads, two
//! a word.

use super::{Curve, IntegerUnit, Integers, WeightFormat, bits};

const BYTES: usize = 18;
const WEIGHTS: usize = 32;
const LEVELS: usize = 16;
/// The bits of the f32 that scale byte 0 stands for.
const SMALLEST_SCALE: u32 = 103 << 23;
/// What the largest scale reaches on a straight, centered ladder.
const LARGEST_WEIGHT: f32 = 240.0 * 7.5;
/// How many bends and shifts a head can have.
const BENDS: i32 = 8;
const SHIFTS: i32 = 32;
/// From how many of the starts the search goes on: one more gains 1 % and takes a third longer.
const DESCENTS: usize = 2;
/// Steps of a descent; it ends by itself, long before.
const MAX_STEPS: usize = 64;

/// The numbers of a block's head as they are stored.
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

    /// The largest scale that is stored and not above this one.
    fn scale_below(scale: f32) -> i32 {
        ((scale.to_bits() as i32 - SMALLEST_SCALE as i32) >> 20).clamp(0, 255)
    }

    fn shift(self) -> f32 {
        (self.shift - 16) as f32 / 4.0
    }

    /// The last of the levels before shift and scale; the first is less than zero by as much.
    fn end(self) -> f32 {
        7.5 + self.bend as f32 / 256.0 * (7.5 * 7.5 * 7.5)
    }

    /// The sixteen levels before shift and scale, in ascending order.
    fn curve(self) -> [f32; LEVELS] {
        let bend = self.bend as f32 / 256.0;
        std::array::from_fn(|nibble| {
            let u = nibble as f32 - 7.5;
            u + bend * u * u * u
        })
    }
}

/// Values of a block, the levels that are nearest, and how far those are.
struct Fit {
    head: Head,
    nibbles: [i32; WEIGHTS],
    /// Sum of the squared errors.
    error: f32,
}

impl Fit {
    fn new(values: &[f32; WEIGHTS], head: Head) -> Self {
        let (curve, scale, shift) = (head.curve(), head.scale(), head.shift());
        let over = 1.0 / scale;
        let wanted = values.map(|value| value * over - shift);
        let mut nibbles = [0; WEIGHTS];
        for pair in curve.windows(2) {
            let middle = (pair[0] + pair[1]) / 2.0;
            for (nibble, wanted) in nibbles.iter_mut().zip(&wanted) {
                *nibble += i32::from(*wanted > middle);
            }
        }
        let bend = head.bend as f32 / 256.0;
        let mut lanes = [0.0; 8];
        for (nibbles, wanted) in nibbles.chunks_exact(8).zip(wanted.chunks_exact(8)) {
            for lane in 0..8 {
                let u = nibbles[lane] as f32 - 7.5;
                let error = u + bend * u * u * u - wanted[lane];
                lanes[lane] += error * error;
            }
        }
        let error = lanes.iter().sum::<f32>() * scale * scale;
        Self { head, nibbles, error }
    }

    /// The better of the two.
    fn or(self, other: Self) -> Self {
        if other.error < self.error { other } else { self }
    }
}

/// The least and the greatest value of a block.
struct Range {
    low: f32,
    high: f32,
}

impl Range {
    fn of(values: &[f32; WEIGHTS]) -> Self {
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        Self { low, high: values.iter().copied().fold(f32::NEG_INFINITY, f32::max) }
    }

    /// The stored scale with which a curve just about reaches both ends; the best scale is hardly
    /// ever more than a step away.
    fn reached_by(&self, bend: i32, shift: i32) -> Head {
        let head = Head { bend, shift, scale: 0 };
        let (end, shift) = (head.end(), head.shift());
        let scale = (self.high / (end + shift)).max(-self.low / (end - shift));
        // A little less than that, rounded: steps are at least a sixteenth.
        Head { scale: Head::scale_below(scale.max(0.0) * 1.02), ..head }
    }

    /// The shift with which a curve lies around the middle of the range.
    fn middle(&self, bend: i32) -> i32 {
        let end = Head { bend, ..Head::default() }.end();
        let (middle, radius) = ((self.low + self.high) / 2.0, (self.high - self.low) / 2.0);
        let scale = (radius / end).max((middle.abs() + radius) / (end + 3.75));
        if scale > 0.0 { (4.0 * middle / scale).round() as i32 + 16 } else { 16 }
    }
}

/// The best head found: every bend at three shifts, then from the best of these downhill.
fn fit(values: &[f32; WEIGHTS]) -> Fit {
    let range = Range::of(values);
    let starts = (0..BENDS).flat_map(|bend| {
        let middle = range.middle(bend);
        [0, -4, 4].map(|offset| range.reached_by(bend, (middle + offset).clamp(0, SHIFTS - 1)))
    });
    let mut starts: Vec<Fit> = starts.map(|head| Fit::new(values, head)).collect();
    starts.sort_by(|a, b| a.error.total_cmp(&b.error));
    let found = starts.into_iter().take(DESCENTS).map(|start| descend(values, &range, start));
    found.reduce(Fit::or).unwrap_or_else(|| Fit::new(values, Head::default()))
}

/// Goes to a better neighbor until there is none.
fn descend(values: &[f32; WEIGHTS], range: &Range, mut best: Fit) -> Fit {
    for _ in 0..MAX_STEPS {
        let at = best.head;
        for (bend, shift) in [(0, 1), (0, -1), (1, 0), (-1, 0)] {
            let (bend, shift) = (at.bend + bend, at.shift + shift);
            if (0..BENDS).contains(&bend) && (0..SHIFTS).contains(&shift) {
                best = best.or(Fit::new(values, range.reached_by(bend, shift)));
            }
        }
        for step in [-1, 1] {
            let scale = (best.head.scale + step).clamp(0, 255);
            let head = Head { scale, ..best.head };
            best = best.or(Fit::new(values, head));
        }
        if best.head == at {
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
            let levels = head.curve().map(|level| scale * (level + shift));
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

    fn integers(&self) -> Option<Integers> {
        Some(Integers { bits: 4, zero: None, group: WEIGHTS, is_bent: true })
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
        include_str!("../../shaders/formats/t4.wgsl")
    }
}
