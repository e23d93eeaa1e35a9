//! Modules of a folder that sentence-transformers saved: pooling, dense layers and normalization
//! after the transformer, and prompts. `modules.json` lists them; the files of a module are in a
//! subfolder.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use super::files::{
    CONFIG, MAX_CONFIG_BYTES, MODULES, PROMPTS, SINGLE, TRANSFORMER, missing, not_json, object,
    optional_object,
};
use super::header::{StoredTensor, read_header};
use crate::error::{Error, Result, excerpt, quoted};
use crate::weights::json;
use crate::weights::source::{ByteSource, read_whole};

/// Maximum modules of a folder.
pub(in crate::weights) const MAX_MODULES: usize = 16;

/// Modules and prompts of a sentence-transformers model.
#[derive(Debug, Default)]
pub struct SentenceModules {
    /// Modules in order, the transformer included; empty without `modules.json`.
    pub modules: Vec<SentenceModule>,
    /// `config_sentence_transformers.json`, an object, or null.
    pub prompts: Value,
    /// Longest text in tokens, if stated.
    pub max_tokens: Option<u64>,
}

/// A module after the transformer, or the transformer.
#[derive(Debug)]
pub struct SentenceModule {
    /// Name of the class, such as `Pooling`.
    pub class: String,
    /// Subfolder, which is also the prefix of its tensors' names.
    pub path: String,
    /// `config.json` of the subfolder, or null.
    pub config: Value,
}

/// Path and class of each module of a list; `None` if it has another form.
pub(in crate::weights) fn entries(list: &Value) -> Option<Vec<(&str, &str)>> {
    fn entry(entry: &Value) -> Option<(&str, &str)> {
        let class = entry.get("type")?.as_str()?;
        Some((entry.get("path")?.as_str()?, class.rsplit('.').next()?))
    }
    list.as_array()?.iter().map(entry).collect()
}

/// True for the names of subfolders that sentence-transformers writes, such as `1_Pooling`.
pub(in crate::weights) fn is_module_path(path: &str) -> bool {
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric());
    path.len() <= 64 && path.split_once('_').is_some_and(|(a, b)| is_word(a) && is_word(b))
}

impl SentenceModules {
    /// Reads the modules of a folder.
    pub(super) async fn read(files: &[Rc<dyn ByteSource>]) -> Result<Self> {
        let find = |name: &str| files.iter().find(|file| file.name() == name);
        let transformer = optional_object(find(TRANSFORMER)).await?.unwrap_or_default();
        let prompts = optional_object(find(PROMPTS)).await?.unwrap_or_default();
        let mut modules = Vec::new();
        if let Some(list) = find(MODULES) {
            let bytes = read_whole(&**list, MAX_CONFIG_BYTES).await?;
            let list = json::parse(&bytes).map_err(|error| not_json(list, &bytes, &error))?;
            let entries = entries(&list).filter(|entries| entries.len() <= MAX_MODULES);
            let entries = entries.ok_or_else(|| {
                let expected = format!("a list of at most {MAX_MODULES} modules");
                Error::malformed_value(MODULES, "JSON", excerpt(&list), expected)
            })?;
            for (path, class) in entries {
                let needs_config = matches!(class, "Pooling" | "Dense");
                if needs_config && !is_module_path(path) {
                    let expected = "a subfolder such as 1_Pooling";
                    return Err(Error::malformed_value(MODULES, "path", quoted(path), expected));
                }
                let name = format!("{path}/{CONFIG}");
                let config = match find(&name) {
                    Some(source) if needs_config => object(source).await?,
                    None if needs_config => return Err(missing(files, &name)),
                    _ => Value::Null,
                };
                let (class, path) = (class.to_owned(), path.to_owned());
                modules.push(SentenceModule { class, path, config });
            }
        }
        let max_tokens = transformer.get("max_seq_length").and_then(Value::as_u64);
        Ok(Self { modules, prompts, max_tokens })
    }

    /// Adds the tensors of dense layers to those of the transformer, under the name of their
    /// subfolder.
    pub(super) async fn add_tensors(
        &self,
        files: &[Rc<dyn ByteSource>],
        stored: &mut BTreeMap<String, StoredTensor>,
    ) -> Result<()> {
        for module in self.modules.iter().filter(|module| module.class == "Dense") {
            let file = format!("{}/{SINGLE}", module.path);
            // Quantization writes all tensors to one file.
            let Some(number) = files.iter().position(|source| source.name() == file) else {
                continue;
            };
            for tensor in read_header(&files[number], number).await? {
                let name = format!("{}.{}", module.path, tensor.name);
                stored.insert(name.clone(), StoredTensor { name, ..tensor });
            }
        }
        Ok(())
    }
}
