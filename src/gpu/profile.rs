//! Measurements on the GPU: times of a plan's kernels, and copy bandwidth.

use web_time::Instant;

use super::device::Gpu;
use super::executor::GpuExecutor;
use crate::error::Result;
use crate::kernels::Step;

/// Size of the copied buffers, larger than caches.
const COPY_BYTES: u64 = 64 << 20;
/// Minimum duration of a measurement by the host's clock, so that the wait for its end is a small
/// part of it.
const MIN_SECONDS: f64 = 0.02;

impl Gpu {
    /// True if the device can write timestamps at the beginning and the end of a pass.
    pub fn has_timestamps(&self) -> bool {
        self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Measures the bytes per second, read and written, of buffer copies.
    pub async fn copy_bandwidth(&self) -> Result<f64> {
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let size = COPY_BYTES.min(self.report.max_buffer_bytes);
        let [from, to] = self.checked(|| Ok([(); 2].map(|()| self.temporary(size, usage)))).await?;
        let mut copies = 1;
        let bandwidth = loop {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            for _ in 0..copies {
                encoder.copy_buffer_to_buffer(&from, 0, &to, 0, size);
            }
            let started = Instant::now();
            self.submit(encoder.finish());
            self.finish().await?;
            let seconds = started.elapsed().as_secs_f64();
            if seconds >= MIN_SECONDS && copies > 1 {
                break (2 * size * copies) as f64 / seconds;
            }
            copies *= 2;
        };
        from.destroy();
        to.destroy();
        Ok(bandwidth)
    }

    /// Creates a buffer for one measurement, which does not count as allocated.
    fn temporary(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let label = Some("measurement");
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size,
            usage,
            mapped_at_creation: false,
        })
    }
}

impl GpuExecutor {
    /// Measures the microseconds of each group of a plan's kernels, one group after another.
    pub async fn time(
        &mut self,
        plan: usize,
        step: Step,
        groups: &[Vec<usize>],
    ) -> Result<Vec<f64>> {
        self.write_step(step);
        if self.gpu.has_timestamps() {
            return self.time_by_timestamps(plan, step, groups).await;
        }
        let mut times = Vec::new();
        self.gpu.finish().await?;
        for group in groups {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let kernels = group.iter().map(|kernel| &self.plans[plan][*kernel]);
            self.encode(&mut encoder, None, kernels, step);
            let started = Instant::now();
            self.gpu.submit(encoder.finish());
            self.gpu.finish().await?;
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times)
    }

    /// Measures groups by timestamp queries, one pass per group.
    async fn time_by_timestamps(
        &self,
        plan: usize,
        step: Step,
        groups: &[Vec<usize>],
    ) -> Result<Vec<f64>> {
        let count = 2 * groups.len() as u32;
        let size = u64::from(count) * 8;
        let queries = self.gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = self.gpu.temporary(size, usage);
        let staging =
            self.gpu.temporary(size, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for (index, group) in groups.iter().enumerate() {
            let first = 2 * index as u32;
            let writes = wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(first),
                end_of_pass_write_index: Some(first + 1),
            };
            let kernels = group.iter().map(|kernel| &self.plans[plan][*kernel]);
            self.encode(&mut encoder, Some(writes), kernels, step);
        }
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, size);
        self.gpu.submit(encoder.finish());
        let words = self.gpu.read(&staging, 2 * count as usize).await?;
        resolved.destroy();
        staging.destroy();
        let ticks: Vec<u64> = words
            .chunks_exact(2)
            .map(|pair| u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32)
            .collect();
        let period = f64::from(self.gpu.queue.get_timestamp_period()) / 1000.0;
        let micros = |pair: &[u64]| pair[1].saturating_sub(pair[0]) as f64 * period;
        Ok(ticks.chunks_exact(2).map(micros).collect())
    }
}
