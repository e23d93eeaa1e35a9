//! Pseudo-random numbers and random valid weights, the same on every machine.

use half::{bf16, f16};
use tablm::formats::Format;

/// SplitMix64 (Steele, Lea & Flood 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in -1 … 1.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Approximately normal with variance 1.
    pub fn normal(&mut self) -> f32 {
        let sum: f32 = (0..12).map(|_| self.uniform()).sum();
        sum / 2.0
    }

    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// Stored bytes of a random matrix, with weights of a magnitude of about 1.
    pub fn stored(&mut self, format: Format, rows: usize, columns: usize) -> Vec<u8> {
        let count = rows * columns;
        match format {
            Format::F32 => self.normals(count).iter().flat_map(|x| x.to_le_bytes()).collect(),
            Format::F16 => {
                self.normals(count).iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect()
            }
            Format::BF16 => {
                self.normals(count).iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect()
            }
            Format::F8_E4M3 => (0..rows).flat_map(|row| self.f8_row(row, columns)).collect(),
            Format::NVFP4_F32 => (0..rows).flat_map(|_| self.nvfp4_row(columns)).collect(),
            Format::MLX(_) | Format::INT(_) => self.mlx_groups(format, count),
            _ => self.blocks(format, count),
        }
    }

    /// A row of FP8: its scale and numbers below 2. Those of odd rows are subnormal, so that tests
    /// notice a GPU that flushes them to zero.
    fn f8_row(&mut self, row: usize, columns: usize) -> Vec<u8> {
        let (scale, mask) = (1.0 + self.uniform(), if row.is_multiple_of(2) { 0xbf } else { 0x87 });
        let numbers = (0..columns).map(|_| self.bits() as u8 & mask);
        scale.to_le_bytes().into_iter().chain(numbers).collect()
    }

    /// A row of NVFP4_F32: factor, divisor and groups with scales of 2^-5 to 2^-2.
    fn nvfp4_row(&mut self, columns: usize) -> Vec<u8> {
        let header = [2.0 + self.uniform(), 1.5 + self.uniform()];
        let mut row: Vec<u8> = header.into_iter().flat_map(f32::to_le_bytes).collect();
        for _ in 0..columns / 16 {
            row.push(0x10 | (self.bits() as u8 & 0x1f));
            row.extend((0..8).map(|_| self.bits() as u8));
        }
        row
    }

    /// Groups of an MLX format or of grouped integers: scale, bias or zero point, quants.
    fn mlx_groups(&mut self, format: Format, count: usize) -> Vec<u8> {
        let rules = format.rules();
        let (_, scale_format) = rules.constants()[2];
        let mut stored = Vec::new();
        for _ in 0..count / rules.block_weights() {
            let end = stored.len() + rules.block_bytes();
            let (scale, mut second) = (self.uniform() / 16.0, self.uniform() / 2.0);
            if let Format::INT(_) = format {
                second = (12.0 + 4.0 * second).round();
            }
            for number in [scale, second] {
                match scale_format as u32 {
                    0 => stored.extend(f16::from_f32(number).to_le_bytes()),
                    1 => stored.extend(bf16::from_f32(number).to_le_bytes()),
                    _ => stored.extend(number.to_le_bytes()),
                }
            }
            stored.resize_with(end, || self.bits() as u8);
        }
        stored
    }

    /// Blocks of a block format: random quants, small scales.
    fn blocks(&mut self, format: Format, count: usize) -> Vec<u8> {
        let rules = format.rules();
        let scale_offsets: &[usize] = match format {
            Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
            Format::Q6_K => &[208],
            Format::Q2_K => &[80, 82],
            Format::Q3_K => &[108],
            _ => &[0],
        };
        let mut stored: Vec<u8> = (0..count / rules.block_weights() * rules.block_bytes())
            .map(|_| self.bits() as u8)
            .collect();
        for block in stored.chunks_exact_mut(rules.block_bytes()) {
            match format {
                Format::T4 => block[1] = 0x90 | (block[1] & 0x0f), // 2^-6 to 2^-4
                Format::MXFP4 => block[0] = 120 | (block[0] & 3),  // 2^-7 to 2^-4
                // Numbers below 2, of which some are subnormal.
                Format::F8_E4M3_128 => {
                    block[..4].copy_from_slice(&(1.0 + self.uniform()).to_le_bytes());
                    block[4..].iter_mut().for_each(|byte| *byte &= 0xbf);
                }
                Format::MXFP8 => {
                    block[0] = 124 | (block[0] & 3);
                    block[1..].iter_mut().for_each(|byte| *byte &= 0xbf);
                }
                // 2^-5 to 2^-2
                Format::NVFP4 => block[..4].iter_mut().for_each(|b| *b = 0x10 | (*b & 0x1f)),
                _ => {}
            }
            let has_halves = !matches!(
                format,
                Format::T4 | Format::MXFP4 | Format::MXFP8 | Format::NVFP4 | Format::F8_E4M3_128
            );
            if !has_halves {
                continue;
            }
            for offset in scale_offsets {
                let scale = f16::from_f32(self.uniform() / 16.0);
                block[*offset..offset + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
        stored
    }
}
