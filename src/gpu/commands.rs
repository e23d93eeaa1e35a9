//! Calls of the GPU API that a step may make, each counted where it happens.

use super::counters::StepCounters;
use super::device::Gpu;

impl Gpu {
    /// Updates the counters.
    pub(super) fn count(&self, count: impl FnOnce(&mut StepCounters)) {
        count(&mut self.counting.borrow_mut());
    }

    /// Returns the counts since the last call.
    pub(super) fn take_counters(&self) -> StepCounters {
        self.counting.take()
    }

    /// Writes bytes to a buffer, ahead of the next submission.
    pub(super) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.count(|counters| counters.write_buffer_bytes += bytes.len() as u64);
        self.queue.write_buffer(buffer, offset, bytes);
    }

    /// Creates a bind group of whole buffers, in binding order.
    pub(super) fn bind_group(
        &self,
        label: &str,
        layout: &wgpu::BindGroupLayout,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        self.count(|counters| counters.bind_groups_created += 1);
        let entry = |(binding, buffer)| {
            let resource = wgpu::Buffer::as_entire_binding(buffer);
            wgpu::BindGroupEntry { binding: binding as u32, resource }
        };
        let entries: Vec<_> = buffers.iter().copied().enumerate().map(entry).collect();
        let descriptor =
            wgpu::BindGroupDescriptor { label: Some(label), layout, entries: &entries };
        self.device.create_bind_group(&descriptor)
    }

    /// Submits a command buffer.
    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> wgpu::SubmissionIndex {
        self.count(|counters| counters.submits += 1);
        self.queue.submit([commands])
    }
}
