//! Weights on their way to the GPU: stored rows in, planes out, a piece at a time.

use super::Gpu;
use crate::error::Result;
use crate::plan::MatrixInfo;

/// The planes of one part of a matrix.
pub(super) struct Part {
    pub(super) planes: Vec<wgpu::Buffer>,
}

/// Planes a format has at most.
const PLANES: usize = 2;

/// Repacked rows of one piece, one vector a plane; kept, because pieces are alike.
#[derive(Default)]
pub(super) struct Upload {
    planes: [Vec<u8>; PLANES],
}

impl Upload {
    /// Repacks stored rows of a matrix, from `first_row` on, and writes them to its parts.
    pub(super) fn rows(
        &mut self,
        gpu: &Gpu,
        parts: &[Part],
        matrix: &MatrixInfo,
        first_row: u32,
        stored: &[u8],
    ) -> Result<()> {
        let row_bytes = matrix.format.row_bytes(matrix.columns as usize)?;
        let plane_row_bytes = matrix.format.rules().plane_row_bytes(matrix.columns as usize);
        let (mut row, mut rest) = (first_row, stored);
        while !rest.is_empty() {
            let (part, in_part) = (row / matrix.rows_per_part, row % matrix.rows_per_part);
            let count = (rest.len() / row_bytes).min((matrix.rows_per_part - in_part) as usize);
            let (piece, after) = rest.split_at(count * row_bytes);
            self.repack(matrix, &plane_row_bytes, piece.chunks_exact(row_bytes));
            let planes = parts[part as usize].planes.iter().zip(&self.planes);
            for ((buffer, plane), row_bytes) in planes.zip(&plane_row_bytes) {
                gpu.queue.write_buffer(buffer, u64::from(in_part) * *row_bytes as u64, plane);
            }
            (row, rest) = (row + count as u32, after);
        }
        Ok(())
    }

    fn repack(
        &mut self,
        matrix: &MatrixInfo,
        plane_row_bytes: &[usize],
        rows: std::slice::ChunksExact<'_, u8>,
    ) {
        let rules = matrix.format.rules();
        for (plane, row_bytes) in self.planes.iter_mut().zip(plane_row_bytes) {
            plane.clear();
            plane.resize(row_bytes * rows.len(), 0);
        }
        let mut rest = self.planes.each_mut().map(Vec::as_mut_slice);
        for row in rows {
            let mut next = rest.iter_mut().zip(plane_row_bytes);
            let mut planes: [&mut [u8]; PLANES] = std::array::from_fn(|_| {
                let next = next.next();
                next.and_then(|(plane, bytes)| plane.split_off_mut(..*bytes)).unwrap_or_default()
            });
            rules.repack_row(matrix.columns as usize, row, &mut planes[..plane_row_bytes.len()]);
        }
    }
}
