//! The GPU adapter that tests run on.

use std::rc::Rc;

use tablm::gpu::{AdapterHints, Gpu};

/// Opens the adapter. Panics if there is none, except with `ALLOW_NO_GPU=1`. Returns `None` in
/// wasm, where a test cannot wait for a promise.
pub(crate) async fn gpu() -> Option<Rc<Gpu>> {
    if cfg!(target_arch = "wasm32") {
        return None;
    }
    match Gpu::open(&AdapterHints::default()).await {
        Ok(gpu) => {
            eprintln!("adapter: {} ({})", gpu.report.name, gpu.report.interface);
            Some(Rc::new(gpu))
        }
        Err(error) if std::env::var("ALLOW_NO_GPU").as_deref() == Ok("1") => {
            eprintln!("skipped: no adapter: {error}");
            None
        }
        Err(error) => {
            panic!("{error}; install a Vulkan driver, or set ALLOW_NO_GPU=1 to skip GPU tests")
        }
    }
}
