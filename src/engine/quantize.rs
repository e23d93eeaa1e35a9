//! Conversion of a safetensors folder to one with quantized matrices, piece by piece. The result
//! loads as the input does with [`LoadOptions::quantize`].
//!
//! A quantized matrix is stored as a tensor of bytes, `[rows, bytes of a row]`, and `__metadata__`
//! maps the tensor's name to its format's name. `src/weights/safetensors/` reads it.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::options::{GUARANTEED_BINDING_BYTES, LoadOptions, PlanTarget};
use super::planning::PlannedModel;
use crate::error::{Error, Result};
use crate::formats::Format;
use crate::weights::folder::{self, Folder};
use crate::weights::quantize::{Loss, Target};
use crate::weights::source::{ByteSource, read_whole};
use crate::weights::{Checkpoint, Container, Tensor};

/// Name of the output file that holds the weights.
const WEIGHTS: &str = "model.safetensors";
/// Alignment of the data in the file, in bytes.
const ALIGNMENT: usize = 64;

/// Report of a tensor that was quantized.
#[derive(Debug, Clone, Serialize)]
pub struct QuantizedTensor {
    /// Name of the tensor.
    pub name: String,
    /// Format before.
    pub from: &'static str,
    /// Format now.
    pub format: &'static str,
    /// Bytes in the file before.
    pub from_bytes: u64,
    /// Bytes in the file now.
    pub size_bytes: u64,
    /// Root mean squared error divided by the root mean square of the weights.
    pub relative_rms_error: f64,
}

/// Report of a quantized folder.
#[derive(Debug, Clone, Serialize)]
pub struct QuantizeReport {
    /// Format asked for.
    pub format: &'static str,
    /// Number of tensors that were copied unchanged.
    pub kept_tensors: usize,
    /// Every matrix that was quantized.
    pub tensors: Vec<QuantizedTensor>,
    /// Bytes of all tensors before.
    pub from_bytes: u64,
    /// Bytes of all tensors now.
    pub size_bytes: u64,
}

/// Quantizes a safetensors folder. `write` gets the name of a file and its next bytes, one file
/// after another.
///
/// # Errors
/// `invalid-request` for a GGUF file; errors of the headers, the weights and `write`.
pub async fn quantize(
    files: Vec<Rc<dyn ByteSource>>,
    target: Target,
    write: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<QuantizeReport> {
    let checkpoint = Checkpoint::open(files).await?;
    checkpoint.check_complete()?;
    let Container::Safetensors(folder) = &checkpoint.container else {
        let message =
            format!("{}: found a GGUF file, expected a safetensors folder", checkpoint.name);
        return Err(Error::invalid_request("model", message));
    };
    let options = LoadOptions { quantize: Some(target), ..LoadOptions::default() };
    let plan_target = PlanTarget::any_gpu(&options, GUARANTEED_BINDING_BYTES);
    let planned = PlannedModel::new(&checkpoint, &options, plan_target)?;
    write_text_files(&checkpoint, folder, target, write).await?;
    let matrices = planned.buffers.resources.matrices().iter();
    let matrices =
        matrices.flat_map(|matrix| matrix.tensors.iter().map(|(name, _)| (&**name, matrix.format)));
    let matrices: BTreeMap<&str, Format> = matrices.collect();
    let outputs = checkpoint.tensors.values().map(|tensor| {
        let format = matrices.get(tensor.name.as_str()).copied().unwrap_or(tensor.format);
        let size_bytes = format.row_bytes(tensor.columns())? as u64 * tensor.rows() as u64;
        Ok(OutputTensor { tensor, format, size_bytes })
    });
    let outputs: Vec<OutputTensor<'_>> = outputs.collect::<Result<_>>()?;
    write(WEIGHTS, &header(&checkpoint.name, &outputs)?)?;
    let mut tensors = Vec::new();
    for output in &outputs {
        let loss = output.write(&checkpoint, write).await?;
        if output.format != output.tensor.format {
            tensors.push(output.report(loss));
        }
    }
    Ok(QuantizeReport {
        format: target.format().name(),
        kept_tensors: outputs.len() - tensors.len(),
        tensors,
        from_bytes: outputs.iter().map(|output| output.tensor.size_bytes).sum(),
        size_bytes: outputs.iter().map(|output| output.size_bytes).sum(),
    })
}

/// A tensor of the input, with its format and size in the output.
struct OutputTensor<'a> {
    tensor: &'a Tensor,
    format: Format,
    size_bytes: u64,
}

impl OutputTensor<'_> {
    /// Writes the tensor's data, piece by piece.
    async fn write(
        &self,
        checkpoint: &Checkpoint,
        write: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<Loss> {
        let (mut row, mut loss) = (0, Loss::default());
        while (row as usize) < self.tensor.rows() {
            let piece = checkpoint.read_piece(self.tensor, self.format, row, &mut loss).await?;
            write(WEIGHTS, &piece.held)?;
            row += piece.rows;
        }
        Ok(loss)
    }

    fn report(&self, loss: Loss) -> QuantizedTensor {
        QuantizedTensor {
            name: self.tensor.name.clone(),
            from: self.tensor.format.name(),
            format: self.format.name(),
            from_bytes: self.tensor.size_bytes,
            size_bytes: self.size_bytes,
            relative_rms_error: loss.relative_rms(),
        }
    }
}

/// Header of the file of weights: tensors in the order of their data, and the formats of those that
/// safetensors has no type for.
fn header(name: &str, tensors: &[OutputTensor<'_>]) -> Result<Vec<u8>> {
    let mut metadata = Map::new();
    metadata.insert("quantized_by".to_owned(), json!(concat!("tablm ", env!("CARGO_PKG_VERSION"))));
    metadata.insert("quantized_from".to_owned(), json!(name));
    let mut entries = Map::new();
    let mut start = 0;
    for OutputTensor { tensor, format, size_bytes } in tensors {
        let mut shape: Vec<u64> = tensor.shape.iter().map(|axis| *axis as u64).collect();
        let dtype = format.safetensors_dtype().unwrap_or("U8");
        if dtype == "U8" {
            shape = vec![tensor.rows() as u64, size_bytes / tensor.rows() as u64];
            metadata.insert(tensor.name.clone(), json!(format.name()));
        }
        let end = start + size_bytes;
        entries.insert(
            tensor.name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}),
        );
        start = end;
    }
    let mut table = Map::new();
    table.insert("__metadata__".to_owned(), Value::Object(metadata));
    table.extend(entries);
    // Spaces align the data, which follows the header and its length of 8 bytes.
    let mut json = Value::Object(table).to_string().into_bytes();
    json.resize((json.len() + 8).next_multiple_of(ALIGNMENT) - 8, b' ');
    Ok([&(json.len() as u64).to_le_bytes(), json.as_slice()].concat())
}

/// Writes the configuration with the new format, and copies the other small files.
async fn write_text_files(
    checkpoint: &Checkpoint,
    folder: &Folder,
    target: Target,
    write: &mut dyn FnMut(&str, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut config = folder.config.clone();
    // Replaces the input's quantization, which MLX states in `quantization` too.
    config["quantization_config"] =
        json!({"quant_method": "tablm", "format": target.format().name()});
    if let Some(config) = config.as_object_mut() {
        config.shift_remove("quantization");
    }
    write(folder::CONFIG, format!("{config:#}\n").as_bytes())?;
    for file in &checkpoint.files {
        if folder::is_text_file(file.name()) {
            write(file.name(), &read_whole(&**file, u64::MAX).await?)?;
        }
    }
    Ok(())
}
