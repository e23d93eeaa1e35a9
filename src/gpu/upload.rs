//! Weight upload: repacks stored rows into planes and writes them to GPU buffers.

use super::device::Gpu;
use crate::error::Result;
use crate::formats::{MAX_PLANES, WeightFormat};
use crate::plan::MatrixInfo;

/// Plane buffers of one part of a matrix, in binding order.
pub(super) struct Part {
    pub(super) planes: Vec<wgpu::Buffer>,
}

/// Host staging memory for repacked rows, one vector per plane, reused between calls.
#[derive(Default)]
pub(super) struct Upload {
    planes: [Vec<u8>; MAX_PLANES],
}

impl Upload {
    /// Repacks stored rows of a matrix, from `first_row` on, and writes them to its parts.
    /// `malformed` if the matrix's rows are not whole blocks.
    pub(super) fn rows(
        &mut self,
        gpu: &Gpu,
        parts: &[Part],
        matrix: &MatrixInfo,
        first_row: u32,
        stored: &[u8],
    ) -> Result<()> {
        let (rules, columns) = (matrix.format.rules(), matrix.columns as usize);
        let row_bytes = matrix.format.row_bytes(columns)?;
        let plane_row_bytes = rules.plane_row_bytes(columns);
        let (mut row, mut rest) = (first_row, stored);
        while !rest.is_empty() {
            let (part, row_in_part) = (row / matrix.rows_per_part, row % matrix.rows_per_part);
            let rows_left = (matrix.rows_per_part - row_in_part) as usize;
            let count = (rest.len() / row_bytes).min(rows_left);
            let (chunk, after) = rest.split_at(count * row_bytes);
            self.repack(rules, columns, chunk.chunks_exact(row_bytes));
            let planes = parts[part as usize].planes.iter().zip(&self.planes);
            for ((buffer, plane), row_bytes) in planes.zip(&plane_row_bytes) {
                let offset = u64::from(row_in_part) * *row_bytes as u64;
                gpu.queue.write_buffer(buffer, offset, plane);
            }
            (row, rest) = (row + count as u32, after);
        }
        Ok(())
    }

    /// Repacks rows of `columns` weights into `self.planes`.
    fn repack(
        &mut self,
        rules: &dyn WeightFormat,
        columns: usize,
        rows: std::slice::ChunksExact<'_, u8>,
    ) {
        let plane_row_bytes = rules.plane_row_bytes(columns);
        for (plane, row_bytes) in self.planes.iter_mut().zip(&plane_row_bytes) {
            plane.clear();
            plane.resize(row_bytes * rows.len(), 0);
        }
        let mut rest = self.planes.each_mut().map(Vec::as_mut_slice);
        for row in rows {
            let mut parts = rest.iter_mut().zip(&plane_row_bytes);
            let mut planes: [&mut [u8]; MAX_PLANES] = std::array::from_fn(|_| {
                let part = parts.next();
                part.and_then(|(plane, bytes)| plane.split_off_mut(..*bytes)).unwrap_or_default()
            });
            rules.repack_row(columns, row, &mut planes[..plane_row_bytes.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A format of as many planes as the contract allows: stored byte `i` of a block of
    /// [`MAX_PLANES`] weights goes to plane `i`, with three bytes of padding.
    struct AllPlanes;

    impl WeightFormat for AllPlanes {
        fn block_weights(&self) -> usize {
            MAX_PLANES
        }

        fn block_bytes(&self) -> usize {
            MAX_PLANES
        }

        fn dequantize_row(&self, _: &[u8], _: &mut [f32]) {}

        fn plane_row_bytes(&self, columns: usize) -> Vec<usize> {
            vec![4 * columns.div_ceil(MAX_PLANES); MAX_PLANES]
        }

        fn repack_row(&self, _: usize, stored: &[u8], planes: &mut [&mut [u8]]) {
            assert_eq!(planes.len(), MAX_PLANES);
            for (block, bytes) in stored.chunks_exact(MAX_PLANES).enumerate() {
                for (plane, byte) in planes.iter_mut().zip(bytes) {
                    plane[4 * block] = *byte;
                }
            }
        }

        fn is_finite(&self, _: &[u8]) -> bool {
            true
        }

        fn shader(&self) -> &'static str {
            ""
        }
    }

    #[test]
    fn upload_repacks_a_format_with_max_planes() {
        assert_eq!(AllPlanes.plane_count(), 3, "shaders/formats/README.md");
        let mut upload = Upload::default();
        let stored: Vec<u8> = (1..=2 * 2 * MAX_PLANES as u8).collect();
        // Two rows of two blocks, twice: the second call reuses the staging memory of the first.
        for _ in 0..2 {
            upload.repack(&AllPlanes, 2 * MAX_PLANES, stored.chunks_exact(2 * MAX_PLANES));
            for (index, plane) in (1..).zip(&upload.planes) {
                let expected = [0, 3, 6, 9].map(|block| [block + index, 0, 0, 0]);
                assert_eq!(plane, expected.as_flattened(), "plane {index}");
            }
        }
    }
}
