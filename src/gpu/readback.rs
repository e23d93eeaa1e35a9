//! Readback of GPU memory and fences. Natively the host polls the device; in a browser its
//! callbacks run by themselves.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::device::Gpu;
use crate::error::{Code, Error, Result};

/// A future that a callback of the device completes.
struct Signal<T>(Arc<Mutex<(Option<T>, Option<Waker>)>>);

impl<T> Signal<T> {
    fn new() -> (Self, impl FnOnce(T)) {
        let shared = Arc::new(Mutex::new((None, None)));
        let sender = shared.clone();
        let send = move |value| {
            if let Ok(mut state) = sender.lock() {
                state.0 = Some(value);
                if let Some(waker) = state.1.take() {
                    Waker::wake(waker);
                }
            }
        };
        (Self(shared), send)
    }
}

impl<T> Future for Signal<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(mut state) = self.0.lock() else {
            return Poll::Ready(Err(Error::internal("a GPU callback panicked")));
        };
        match state.0.take() {
            Some(value) => Poll::Ready(Ok(value)),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A future of the GPU reaching a point in the queue.
pub(super) struct Fence {
    submission: wgpu::SubmissionIndex,
    reached: Signal<()>,
}

/// A buffer that is being mapped for reading.
pub(super) struct Mapping {
    submission: Option<wgpu::SubmissionIndex>,
    buffer: wgpu::Buffer,
    words: usize,
    mapped: Signal<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Mapping {
    /// Unmaps the buffer, discarding its contents.
    pub(super) fn cancel(self) {
        self.buffer.unmap();
    }
}

impl Gpu {
    /// Waits natively for a submission, or the last one, and runs the device's callbacks.
    fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        if cfg!(target_arch = "wasm32") {
            return Ok(());
        }
        let polled =
            self.device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None });
        polled
            .map(|_| ())
            .map_err(|error| Error::new(Code::DeviceLost, format!("waiting for the GPU: {error}")))
    }

    /// Waits until all submissions are done; `device-lost` if that fails.
    pub(super) async fn finish(&self) -> Result<()> {
        self.reach(self.fence()).await
    }

    /// Creates a fence after all submissions so far.
    pub(super) fn fence(&self) -> Fence {
        let (reached, send) = Signal::new();
        let submission = self.queue.submit([]);
        self.queue.on_submitted_work_done(move || send(()));
        Fence { submission, reached }
    }

    /// Waits until the GPU has reached a fence; `device-lost` if that fails.
    pub(super) async fn reach(&self, fence: Fence) -> Result<()> {
        self.wait(Some(fence.submission))?;
        fence.reached.await?;
        self.check()
    }

    /// Starts to map the first `words` words of a buffer, as they will be after a submission.
    pub(super) fn map(
        &self,
        buffer: &wgpu::Buffer,
        words: usize,
        submission: Option<wgpu::SubmissionIndex>,
    ) -> Mapping {
        let (mapped, send) = Signal::new();
        buffer.slice(..words as u64 * 4).map_async(wgpu::MapMode::Read, send);
        Mapping { submission, buffer: buffer.clone(), words, mapped }
    }

    /// Waits for a mapping and returns its words; `device-lost` if that fails.
    pub(super) async fn mapped(&self, mapping: Mapping) -> Result<Vec<f32>> {
        self.wait(mapping.submission)?;
        let mapped = mapping.mapped.await?;
        self.check()?;
        mapped.map_err(|error| {
            Error::new(Code::DeviceLost, format!("reading from the GPU: {error}"))
        })?;
        let view = mapping
            .buffer
            .slice(..mapping.words as u64 * 4)
            .get_mapped_range()
            .map_err(|error| Error::internal(format!("reading from the GPU: {error}")))?;
        let values = bytemuck::pod_collect_to_vec(&view[..]);
        drop(view);
        mapping.buffer.unmap();
        Ok(values)
    }

    /// Reads the first `words` words of a mappable buffer; `device-lost` if that fails.
    pub(super) async fn read(&self, staging: &wgpu::Buffer, words: usize) -> Result<Vec<f32>> {
        self.mapped(self.map(staging, words, None)).await
    }
}
