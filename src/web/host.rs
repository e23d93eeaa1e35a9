//! Services that JavaScript provides for a load: compiling pipelines ahead, starting threads, and
//! storing kept sessions.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::{from_js, read_options, source, to_json};
use crate::engine::{CompileAhead, HostServices, LoadOptions, SessionStore, StartThreads, Threads};
use crate::error::{Code, Result};
use crate::weights::source::ByteSource;

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

    /// Appends bytes to the kept session of that number.
    #[wasm_bindgen(method, catch, js_name = appendSession)]
    fn append_session(this: &Host, id: u32, bytes: Uint8Array) -> Result<(), JsValue>;

    /// Opens a kept session, as a `SourceFile`.
    #[wasm_bindgen(method, catch, js_name = openSession)]
    fn open_session(this: &Host, id: u32) -> Result<JsValue, JsValue>;

    /// Removes a kept session, if it exists.
    #[wasm_bindgen(method, js_name = removeSession)]
    fn remove_session(this: &Host, id: u32);

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
        session_store: Some(Rc::new(HostStore(host.clone()))),
    };
    Ok(LoadOptions { host: services, ..read_options(json)? })
}

/// Storage of kept sessions in the memory of JavaScript, which, unlike that of wasm, shrinks again.
struct HostStore(Host);

impl fmt::Debug for HostStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostStore")
    }
}

impl SessionStore for HostStore {
    fn append(&self, id: u32, bytes: &[u8]) -> Result<()> {
        let appended = self.0.append_session(id, Uint8Array::from(bytes));
        appended.map_err(|error| from_js(&error, Code::OutOfMemory))
    }

    fn open(&self, id: u32) -> Result<Rc<dyn ByteSource>> {
        source::file(self.0.open_session(id).map_err(|error| from_js(&error, Code::Internal))?)
    }

    fn remove(&self, id: u32) {
        self.0.remove_session(id);
    }
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
