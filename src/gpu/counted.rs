//! What a step costs besides arithmetic, counted where it happens: every call that a step could
//! make goes through here.

use std::cell::RefCell;

use serde::Serialize;

use super::Gpu;

/// What one step costs besides arithmetic.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct StepCounters {
    /// Kernels dispatched.
    pub dispatches: u64,
    /// Queue submissions.
    pub submits: u64,
    /// Bind groups made.
    pub bind_groups_created: u64,
    /// Bytes written into buffers by the host.
    pub write_buffer_bytes: u64,
    /// Bytes copied back to the host.
    pub readback_bytes: u64,
    /// Microseconds of the host to encode a step of one token, without its submission, which may
    /// wait for the GPU; the mean over a request's.
    pub encode_us: f64,
}

/// Counted since the last step.
pub(super) type Counting = RefCell<StepCounters>;

impl Gpu {
    pub(super) fn count(&self, count: impl FnOnce(&mut StepCounters)) {
        count(&mut self.counting.borrow_mut());
    }

    /// What was counted since the last call.
    pub(super) fn take_counters(&self) -> StepCounters {
        self.counting.take()
    }

    /// Writes into a buffer, before what is submitted next.
    pub(super) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.count(|counters| counters.write_buffer_bytes += bytes.len() as u64);
        self.queue.write_buffer(buffer, offset, bytes);
    }

    /// A bind group of whole buffers, bound in order.
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

    /// Submits what was encoded.
    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> wgpu::SubmissionIndex {
        self.count(|counters| counters.submits += 1);
        self.queue.submit([commands])
    }
}
