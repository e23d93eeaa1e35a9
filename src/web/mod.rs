//! The JavaScript boundary, the only code that names wasm-bindgen. Options, requests and reports
//! cross it as JSON, errors as `Error`s with a `code`. `pkg/src/wasm/simd/tablm.d.ts` declares it
//! for TypeScript.

#![allow(unreachable_pub, reason = "wasm-bindgen exports public items only")]

mod host;
mod source;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use js_sys::{Float32Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use host::Host;

use crate::engine::{
    CacheFormat, EmbeddingRequest, Engine, Event, GenerateRequest, GpuCapabilities, LoadOptions,
    Prepared, camel_case_keys, estimate as estimate_model, prepare, probe_gpu,
};
use crate::error::{Code, Error, Result};
use crate::text::Delta;

/// Makes panics write their message to the console.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// Runs this thread as a worker of the engine in the same memory, until that engine is dropped.
#[wasm_bindgen(js_name = runThread)]
pub fn run_thread() {
    crate::engine::run_worker();
}

/// A JavaScript `Error` with the name `TabLMError` and a code.
fn to_js(error: &Error) -> JsValue {
    let value = js_sys::Error::new(error.message());
    value.set_name("TabLMError");
    // Cannot fail on an object that was just made.
    let _ = Reflect::set(&value, &"code".into(), &error.code().as_str().into());
    value.into()
}

/// The error that JavaScript threw, with the code `fallback` unless it has one of [`Code`].
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

/// A report as JSON with camel-case keys.
fn report_json(report: &impl serde::Serialize) -> Result<JsValue> {
    let value = serde_json::to_value(report);
    let value = value.map_err(|error| Error::internal(format!("writing JSON: {error}")))?;
    to_json(&camel_case_keys(value))
}

fn read_options(json: &str) -> Result<LoadOptions> {
    serde_json::from_str(json).map_err(|error| Error::invalid_request("options", error))
}

/// A prepared load: an open GPU, the plans, and pipelines in compilation.
#[wasm_bindgen(js_name = Prepared)]
pub struct WebPrepared(Prepared);

#[wasm_bindgen(js_class = Prepared)]
impl WebPrepared {
    /// Prepares a load from the headers of `SourceFile`s, for [`WebEngine::load`] with the same
    /// options.
    pub fn of(files: Vec<JsValue>, options: &str, host: &Host) -> Promise {
        let options = host::options(options, host);
        promise(
            async move { Ok(WebPrepared(prepare(source::files(files)?, &options?).await?).into()) },
        )
    }
}

/// A loaded model. Methods fail with `invalid-request` while the promise of another is pending.
#[wasm_bindgen(js_name = Engine)]
pub struct WebEngine {
    /// Absent while a step runs.
    engine: Rc<RefCell<Option<Engine>>>,
}

#[wasm_bindgen(js_class = Engine)]
impl WebEngine {
    /// Loads a model from `SourceFile`s; `options` is JSON ([`LoadOptions`]), `on_progress`
    /// receives JSON ([`crate::engine::Progress`]).
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
                if let Ok(json) = report_json(&progress) {
                    // Exceptions of the listener do not stop the load.
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

    /// Runs asynchronous work on the engine, and settles the promise with its JSON.
    fn run(&self, work: impl AsyncFnOnce(&mut Engine) -> Result<JsValue> + 'static) -> Promise {
        let shared = self.engine.clone();
        promise(async move {
            let mut engine = shared.borrow_mut().take().ok_or_else(busy)?;
            let json = work(&mut engine).await;
            *shared.borrow_mut() = Some(engine);
            json
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T, JsValue> {
        let mut engine = self.engine.borrow_mut();
        let engine = engine.as_mut().ok_or_else(|| to_js(&busy()))?;
        work(engine).map_err(|error| to_js(&error))
    }

    /// JSON ([`crate::engine::Info`]).
    pub fn info(&self) -> Result<JsValue, JsValue> {
        self.with(|engine| report_json(&engine.info()))
    }

    /// Cache for the option `tuningCache` of later loads; `undefined` if this load measured
    /// nothing.
    #[wasm_bindgen(js_name = tuningCache)]
    pub fn tuning_cache(&self) -> Result<Option<String>, JsValue> {
        self.with(|engine| Ok(engine.tuning_cache().map(str::to_owned)))
    }

    /// Begins a request, which is JSON ([`GenerateRequest::from_json`]).
    pub fn begin(&self, request: &str) -> Result<(), JsValue> {
        let seed = (js_sys::Math::random() * 9e15) as u64;
        self.with(|engine| engine.begin(&GenerateRequest::from_json(request, seed)?))
    }

    /// JSON ([`Event`]): the next token, or the end of the answer.
    #[wasm_bindgen(js_name = next)]
    pub fn next_event(&self) -> Promise {
        self.run(async |engine: &mut Engine| match engine.next().await? {
            // Between chunks the worker handles waiting messages; it needs no progress.
            Event::Prefill { .. } => to_json(&Event::Token(Delta::default())),
            event => to_json(&event),
        })
    }

    /// Begins a request for embeddings, which is JSON ([`EmbeddingRequest::from_json`]). Returns
    /// JSON ([`crate::engine::EmbeddingUsage`]).
    #[wasm_bindgen(js_name = beginEmbeddings)]
    pub fn begin_embeddings(&self, request: &str) -> Result<JsValue, JsValue> {
        self.with(|engine| {
            to_json(&engine.begin_embeddings(&EmbeddingRequest::from_json(request)?)?)
        })
    }

    /// A `Float32Array`: the embedding of the next text; `undefined` after the last.
    #[wasm_bindgen(js_name = nextEmbedding)]
    pub fn next_embedding(&self) -> Promise {
        self.run(async |engine: &mut Engine| {
            let embedding = engine.next_embedding().await?;
            Ok(embedding.map_or(JsValue::UNDEFINED, |row| Float32Array::from(&row[..]).into()))
        })
    }

    /// JSON ([`crate::engine::Profile`]) of a decode and a prefill step. Empties the sequence and
    /// drops a running request.
    pub fn profile(&self) -> Promise {
        self.run(async |engine: &mut Engine| report_json(&engine.profile_briefly().await?))
    }

    /// Saves the conversation as a session, whose bytes `write` receives part by part, as
    /// `Uint8Array`s. `kv_format` is the name of a [`CacheFormat`], or `undefined` for that of the
    /// cache.
    #[wasm_bindgen(js_name = saveSession)]
    pub fn save_session(&self, kv_format: Option<String>, write: Function) -> Promise {
        self.run(async move |engine: &mut Engine| {
            let kv_format = kv_format.as_deref().map(kv_format_of).transpose()?;
            let mut write = |bytes: &[u8]| {
                let written = write.call1(&JsValue::NULL, &Uint8Array::from(bytes));
                written.map(|_| ()).map_err(|error| from_js(&error, Code::Internal))
            };
            engine.save_session(kv_format, &mut write).await?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Continues from a saved session, a `SourceFile`. Returns its number of tokens.
    #[wasm_bindgen(js_name = restoreSession)]
    pub fn restore_session(&self, file: JsValue) -> Promise {
        self.run(async move |engine: &mut Engine| {
            let tokens = engine.restore_session(&*source::file(file)?).await?;
            Ok((tokens as f64).into())
        })
    }

    /// Keeps a saved session, a `SourceFile`, until the model is unloaded, for requests that begin
    /// as it does. Returns false if it does not fit into the memory for kept sessions.
    #[wasm_bindgen(js_name = keepSession)]
    pub fn keep_session(&self, file: JsValue) -> Promise {
        self.run(async move |engine: &mut Engine| {
            Ok(engine.keep_saved_session(&*source::file(file)?).await?.into())
        })
    }

    /// JSON ([`crate::engine::SessionReport`]) of a saved session, a `SourceFile`.
    #[wasm_bindgen(js_name = describeSession)]
    pub fn describe_session(&self, file: JsValue) -> Promise {
        self.run(async move |engine: &mut Engine| {
            report_json(&engine.describe_session(&*source::file(file)?).await?)
        })
    }

    /// Ends the running request: the next event has the finish reason `abort`.
    pub fn stop(&self) -> Result<(), JsValue> {
        self.with(|engine| {
            engine.stop();
            Ok(())
        })
    }
}

fn kv_format_of(name: &str) -> Result<CacheFormat> {
    let names = CacheFormat::ALL.map(CacheFormat::name).join(", ");
    CacheFormat::from_name(name)
        .ok_or_else(|| Error::invalid_value("kvFormat", name, format!("one of {names}")))
}

fn busy() -> Error {
    Error::invalid_request("engine", "found a running step, expected its promise to be awaited")
}

/// JSON ([`GpuCapabilities`]); `options` is JSON ([`LoadOptions`]), whose `adapter` is used.
#[wasm_bindgen]
pub fn capabilities(options: &str) -> Promise {
    let options = read_options(options);
    promise(async move {
        let (adapter, reason) = match probe_gpu(&options?.adapter).await {
            Ok(adapter) => (Some(adapter), None),
            Err(error) => (None, Some(error.message().to_owned())),
        };
        report_json(&GpuCapabilities { webgpu: adapter.is_some(), adapter, reason })
    })
}

/// JSON ([`crate::engine::Estimate`]), from headers alone; `options` is JSON ([`LoadOptions`]).
#[wasm_bindgen]
pub fn estimate(files: Vec<JsValue>, options: &str) -> Promise {
    let options = read_options(options);
    promise(async move {
        let options = options?;
        let adapter = probe_gpu(&options.adapter).await.ok();
        report_json(&estimate_model(source::files(files)?, &options, adapter.as_ref()).await?)
    })
}
