//! GPU memory to host: natively by waiting, in a browser by awaiting.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::Gpu;
use crate::error::{Code, Error, Result};

/// Filled by a callback of the device, awaited by us.
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

impl Gpu {
    /// Runs the device's callbacks: browsers do so by themselves.
    fn wait(&self) -> Result<()> {
        if cfg!(target_arch = "wasm32") {
            return Ok(());
        }
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        polled
            .map(|_| ())
            .map_err(|error| Error::new(Code::DeviceLost, format!("waiting for the GPU: {error}")))
    }

    /// Waits until everything submitted so far is done.
    pub(super) async fn finish(&self) -> Result<()> {
        let (done, send) = Signal::new();
        self.queue.submit([]);
        self.queue.on_submitted_work_done(move || send(()));
        self.wait()?;
        done.await?;
        self.check()
    }

    /// The first `words` words of a mappable buffer.
    pub(super) async fn read(&self, staging: &wgpu::Buffer, words: usize) -> Result<Vec<f32>> {
        let slice = staging.slice(..words as u64 * 4);
        let (mapped, send) = Signal::new();
        slice.map_async(wgpu::MapMode::Read, send);
        self.wait()?;
        let mapped = mapped.await?;
        self.check()?;
        mapped.map_err(|error| Error::new(Code::DeviceLost, format!("reading from the GPU: {error}")))?;
        let view = slice
            .get_mapped_range()
            .map_err(|error| Error::internal(format!("reading from the GPU: {error}")))?;
        let values = bytemuck::pod_collect_to_vec(&view[..]);
        drop(view);
        staging.unmap();
        Ok(values)
    }
}
