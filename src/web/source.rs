//! Files of JavaScript as byte sources: `{ name, sizeBytes, read(offset, length), readInto? }`.

use std::rc::Rc;

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::from_js;
use crate::error::{Code, Error, Result};
use crate::weights::source::{ByteSource, LocalFuture, past_the_end};

#[wasm_bindgen]
extern "C" {
    /// A file, as `tablm.d.ts` declares it.
    type SourceFile;

    /// Fills `bytes`, a view of wasm memory that is invalid after the call.
    #[wasm_bindgen(method, catch, js_name = readInto)]
    fn read_into(this: &SourceFile, bytes: &mut [u8], offset: f64) -> Result<(), JsValue>;
}

struct JsSource {
    name: String,
    size_bytes: u64,
    object: SourceFile,
    read: Function,
    /// True if the object has `readInto`.
    reads_into: bool,
}

/// Byte sources of an array of files.
///
/// # Errors
/// `invalid-request` for a field that is missing or of the wrong type.
pub(super) fn files(objects: Vec<JsValue>) -> Result<Vec<Rc<dyn ByteSource>>> {
    objects.into_iter().map(file).collect()
}

/// The byte source of a file; errors as of [`files`].
pub(super) fn file(object: JsValue) -> Result<Rc<dyn ByteSource>> {
    let field = |name: &str| Reflect::get(&object, &name.into()).unwrap_or(JsValue::UNDEFINED);
    let wrong = |name: &str| {
        Error::invalid_request("files", format!("found no valid {name}, expected a SourceFile"))
    };
    let name = field("name").as_string().ok_or_else(|| wrong("name"))?;
    let size = field("sizeBytes").as_f64().filter(|size| *size >= 0.0 && size.fract() == 0.0);
    let size_bytes = size.ok_or_else(|| wrong("sizeBytes"))? as u64;
    let read = field("read").dyn_into::<Function>().map_err(|_| wrong("read"))?;
    let reads_into = field("readInto").is_function();
    Ok(Rc::new(JsSource { name, size_bytes, object: object.unchecked_into(), read, reads_into }))
}

impl ByteSource for JsSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read(&self, offset: u64, length: usize) -> LocalFuture<'_, Result<Vec<u8>>> {
        Box::pin(async move {
            if offset.checked_add(length as u64).is_none_or(|end| end > self.size_bytes) {
                let end = offset.saturating_add(length as u64);
                return Err(past_the_end(&self.name, end, self.size_bytes));
            }
            let failed = |error: JsValue| from_js(&error, Code::Network);
            if self.reads_into {
                let mut bytes = vec![0; length];
                self.object.read_into(&mut bytes, offset as f64).map_err(failed)?;
                return Ok(bytes);
            }
            let answer =
                self.read.call2(&self.object, &(offset as f64).into(), &(length as f64).into());
            let mut answer = answer.map_err(failed)?;
            if let Some(promise) = answer.dyn_ref::<Promise>() {
                answer = JsFuture::from(promise.clone()).await.map_err(failed)?;
            }
            let bytes = answer.dyn_into::<Uint8Array>();
            let bytes = bytes.map_err(|_| {
                let message = format!("{}: read: found no Uint8Array, expected one", self.name);
                Error::internal(message)
            })?;
            if bytes.length() as usize != length {
                let message = format!(
                    "{}: read: found {} bytes at {offset}, expected {length}",
                    self.name,
                    bytes.length()
                );
                return Err(Error::new(Code::Network, message));
            }
            Ok(bytes.to_vec())
        })
    }
}
