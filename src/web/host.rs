//! Services that JavaScript provides for a load: compiling pipelines ahead, and starting threads.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::{read_options, to_json};
use crate::engine::{CompileAhead, HostServices, LoadOptions, StartThreads, Threads};
use crate::error::Result;

#[wasm_bindgen]
extern "C" {
    /// Services of the page, as `tablm.d.ts` declares them.
    #[derive(Clone)]
    pub type Host;

    /// Compiles pipelines, which are JSON; the promise resolves also if that fails.
    #[wasm_bindgen(method, catch, js_name = compileAhead)]
    fn compile_ahead(this: &Host, json: JsValue) -> Result<Promise, JsValue>;

    /// Number of threads on the CPU, including this one.
    #[wasm_bindgen(method, getter)]
    fn threads(this: &Host) -> usize;

    /// Starts the other threads with this module and memory; the promise resolves when they run.
    #[wasm_bindgen(method, catch, js_name = startThreads)]
    fn start_threads(this: &Host, module: JsValue, memory: JsValue) -> Result<Promise, JsValue>;
}

thread_local! {
    /// The threads, from the first use by a load to its end.
    static POOL: RefCell<Option<Threads>> = const { RefCell::new(None) };
}

/// Options read from JSON, with the services of the host.
pub(super) fn options(json: &str, host: &Host) -> Result<LoadOptions> {
    let threads = host.clone();
    let services = HostServices {
        threads: StartThreads::new(host.threads(), move || start(threads.clone())),
        max_cpu_bytes: None,
        compile_ahead: Some(compile_ahead(host.clone())),
    };
    Ok(LoadOptions { host: services, ..read_options(json)? })
}

fn compile_ahead(host: Host) -> CompileAhead {
    CompileAhead(Rc::new(move |texts| {
        let begun = to_json(&texts).map(|json| host.compile_ahead(json));
        Box::pin(async move {
            if let Ok(Ok(promise)) = begun {
                // The executor reports the failure when it creates the pipeline.
                let _ = JsFuture::from(promise).await;
            }
        })
    }))
}

/// The threads, started once: this thread can belong to one pool only.
async fn start(host: Host) -> Threads {
    if let Some(threads) = POOL.with_borrow(Clone::clone) {
        return threads;
    }
    let threads = Threads::with_workers(host.threads()).unwrap_or_default();
    if threads.count() > 1 {
        POOL.set(Some(threads.clone()));
        if let Ok(promise) = host.start_threads(wasm_bindgen::module(), wasm_bindgen::memory()) {
            // Threads that fail to start leave their work to the others.
            let _ = JsFuture::from(promise).await;
        }
    }
    threads
}

/// Drops this module's reference to the threads, which then end with the last executor that uses
/// them.
pub(super) fn forget_threads() {
    POOL.set(None);
}
