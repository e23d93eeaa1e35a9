//! What only JavaScript can do for a load: compile pipelines ahead, and start threads.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::{read_options, to_json};
use crate::engine::{CompileAhead, LoadOptions, StartThreads, Threads};
use crate::error::Result;

#[wasm_bindgen]
extern "C" {
    /// A `Host`.
    #[derive(Clone)]
    pub type Host;

    /// Gets JSON; the promise is kept once that is compiled, or failed.
    #[wasm_bindgen(method, catch, js_name = compileAhead)]
    fn compile_ahead(this: &Host, json: JsValue) -> Result<Promise, JsValue>;

    /// How many threads there may be, this one among them.
    #[wasm_bindgen(method, getter)]
    fn threads(this: &Host) -> usize;

    /// Has all threads but this one started, with our module and memory; the promise is kept once they
    /// are there.
    #[wasm_bindgen(method, catch, js_name = startThreads)]
    fn start_threads(this: &Host, module: JsValue, memory: JsValue) -> Result<Promise, JsValue>;
}

thread_local! {
    /// The pool, while a load may want it.
    static POOL: RefCell<Option<Threads>> = const { RefCell::new(None) };
}

/// Options with what the host can do.
pub(super) fn options(json: &str, host: &Host) -> Result<LoadOptions> {
    let threads = host.clone();
    Ok(LoadOptions {
        compile_ahead: Some(compile_ahead(host.clone())),
        threads: StartThreads::new(host.threads(), move || start(threads.clone())),
        ..read_options(json)?
    })
}

fn compile_ahead(host: Host) -> CompileAhead {
    CompileAhead(Rc::new(move |texts| {
        let begun = to_json(&texts).map(|json| host.compile_ahead(json));
        Box::pin(async move {
            if let Ok(Ok(promise)) = begun {
                // What failed is met again when the pipeline is asked for.
                let _ = JsFuture::from(promise).await;
            }
        })
    }))
}

/// The pool, begun once: this thread cannot be of two.
async fn start(host: Host) -> Threads {
    if let Some(threads) = POOL.with_borrow(Clone::clone) {
        return threads;
    }
    let threads = Threads::lent(host.threads()).unwrap_or_default();
    if threads.count() > 1 {
        POOL.set(Some(threads.clone()));
        if let Ok(promise) = host.start_threads(wasm_bindgen::module(), wasm_bindgen::memory()) {
            // Threads that do not come leave their work to the others.
            let _ = JsFuture::from(promise).await;
        }
    }
    threads
}

/// Lets go of the pool: who computes on it has it still, and without anybody its threads end.
pub(super) fn forget_threads() {
    POOL.set(None);
}
