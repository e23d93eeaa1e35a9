//! The JavaScript boundary, the only code that names wasm-bindgen: strings and byte arrays
//! only. What is clever is Rust below it or TypeScript above it.
//!
//! Objects and errors cross as JSON and as `Error`s with a `code`; see `pkg/src/wasm/simd/tablm.d.ts`.

#![allow(unreachable_pub, reason = "wasm-bindgen exports public items only")]

mod host;
mod source;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use host::Host;

use crate::engine::{
    Engine, Event, GenerateRequest, LoadOptions, Prepared, estimate as estimate_model, prepare,
    probe_gpu,
};
use crate::error::{Code, Error, Result};
use crate::text::answer::Delta;

/// Panics become readable messages on the console.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Lends this thread to the engine of another, whose memory it shares, until that needs it no more.
#[wasm_bindgen(js_name = lendThread)]
pub fn lend_thread() {
    crate::engine::lend_thread();
}

/// A JavaScript `Error` with our name and code.
fn to_js(error: &Error) -> JsValue {
    let value = js_sys::Error::new(error.message());
    value.set_name("TabLMError");
    // Cannot fail on an object that was just made.
    let _ = Reflect::set(&value, &"code".into(), &error.code().as_str().into());
    value.into()
}

/// Our error again, if JavaScript threw one of ours; else `fallback` with its message.
fn from_js(value: &JsValue, fallback: Code) -> Error {
    let text =
        |key: &str| Reflect::get(value, &key.into()).ok().and_then(|field| field.as_string());
    let code = text("code").and_then(|code| Code::from_name(&code)).unwrap_or(fallback);
    Error::new(code, text("message").unwrap_or_else(|| format!("{value:?}")))
}

fn promise(work: impl Future<Output = Result<JsValue>> + 'static) -> Promise {
    future_to_promise(async move { work.await.map_err(|error| to_js(&error)) })
}

fn to_json(value: &impl serde::Serialize) -> Result<JsValue> {
    let text = serde_json::to_string(value);
    text.map(JsValue::from).map_err(|error| Error::internal(format!("writing JSON: {error}")))
}

fn read_options(json: &str) -> Result<LoadOptions> {
    serde_json::from_str(json).map_err(|error| Error::invalid_request("options", error))
}

/// What a load does before there are weights.
#[wasm_bindgen(js_name = Prepared)]
pub struct WebPrepared(Prepared);

#[wasm_bindgen(js_class = Prepared)]
impl WebPrepared {
    /// Reads headers of `SourceFile`s, opens the GPU and begins to compile; for `Engine.load` with the
    /// same `options`, or `free`.
    pub fn of(files: Vec<JsValue>, options: &str, host: &Host) -> Promise {
        let options = host::options(options, host);
        promise(
            async move { Ok(WebPrepared(prepare(source::files(files)?, &options?).await?).into()) },
        )
    }
}

/// A loaded model. Calls may overlap; work goes on in the order of the calls to `next`.
#[wasm_bindgen(js_name = Engine)]
pub struct WebEngine {
    /// Taken out while a step runs.
    engine: Rc<RefCell<Option<Engine>>>,
}

#[wasm_bindgen(js_class = Engine)]
impl WebEngine {
    /// Loads a model from `SourceFile`s; `options` is JSON, `on_progress` gets JSON.
    pub fn load(
        files: Vec<JsValue>,
        options: &str,
        on_progress: Function,
        host: &Host,
        prepared: Option<WebPrepared>,
    ) -> Promise {
        let options = host::options(options, host);
        promise(async move {
            let options = options?;
            let files = source::files(files)?;
            let mut progress = |progress| {
                if let Ok(json) = to_json(&progress) {
                    // What a listener throws is its own matter.
                    let _ = on_progress.call1(&JsValue::NULL, &json);
                }
            };
            let prepared = prepared.map(|prepared| prepared.0);
            let engine = Engine::load_prepared(files, &options, prepared, &mut progress).await;
            host::forget_threads();
            let engine = engine?;
            Ok(WebEngine { engine: Rc::new(RefCell::new(Some(engine))) }.into())
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T, JsValue> {
        let mut engine = self.engine.borrow_mut();
        let engine = engine.as_mut().ok_or_else(|| to_js(&busy()))?;
        work(engine).map_err(|error| to_js(&error))
    }

    /// JSON: what was loaded and what it runs on.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        self.with(|engine| to_json(&engine.info()))
    }

    /// What to give later loads as the option `verdicts`, if this one measured anything.
    pub fn verdicts(&self) -> Result<Option<String>, JsValue> {
        self.with(|engine| Ok(engine.verdicts().map(str::to_owned)))
    }

    /// Starts a request, given as JSON.
    pub fn begin(&self, request: &str) -> Result<(), JsValue> {
        let seed = (js_sys::Math::random() * 9e15) as u64;
        self.with(|engine| engine.begin(&GenerateRequest::from_json(request, seed)?))
    }

    /// JSON: the next token, or the end.
    #[wasm_bindgen(js_name = next)]
    pub fn next_event(&self) -> Promise {
        let shared = self.engine.clone();
        promise(async move {
            let mut engine = shared.borrow_mut().take().ok_or_else(busy)?;
            let event = engine.next().await;
            *shared.borrow_mut() = Some(engine);
            match event? {
                Event::Prefill { .. } => to_json(&Event::Token(Delta::default())),
                event => to_json(&event),
            }
        })
    }

    /// JSON: where the time of a decoding step and of a piece of a prompt goes. What the sequence
    /// carried is forgotten; a running request ends.
    pub fn profile(&self) -> Promise {
        let shared = self.engine.clone();
        promise(async move {
            let mut engine = shared.borrow_mut().take().ok_or_else(busy)?;
            let profile = engine.profile_briefly().await;
            *shared.borrow_mut() = Some(engine);
            to_json(&profile?)
        })
    }

    /// Ends the running request: the next event is its end, with `abort`.
    pub fn stop(&self) -> Result<(), JsValue> {
        self.with(|engine| {
            engine.stop();
            Ok(())
        })
    }
}

fn busy() -> Error {
    Error::invalid_request("engine", "a step is still running, wait for it")
}

/// JSON: what this browser offers, nothing loaded; of `options`, JSON, `adapter` counts.
#[wasm_bindgen]
pub fn capabilities(options: &str) -> Promise {
    let options = read_options(options);
    promise(async move {
        match probe_gpu(&options?.adapter).await {
            Ok(report) => to_json(&json!({"webgpu": true, "adapter": report})),
            Err(error) => {
                to_json(&json!({"webgpu": false, "adapter": null, "reason": error.message()}))
            }
        }
    })
}

/// JSON: what a model needs, from its headers alone.
#[wasm_bindgen]
pub fn estimate(files: Vec<JsValue>, options: &str) -> Promise {
    let options = read_options(options);
    promise(async move {
        let options = options?;
        let adapter = probe_gpu(&options.adapter).await.ok();
        to_json(&estimate_model(source::files(files)?, &options, adapter.as_ref()).await?)
    })
}
