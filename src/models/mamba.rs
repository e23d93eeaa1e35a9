//! Configuration and tensor names of Mamba-2 mixers, as hybrid models state them.

use super::config::ConfigSource;
use crate::error::Result;
use crate::kernels::ScanShape;
use crate::layers::{InvalidSize, MambaConfig, MambaSize, MambaTensors};
use crate::plan::Transform;
use crate::weights::folder;

/// Fields of a family's `config.json` that state a mixer's sizes; GGUF has the same keys for all
/// families.
pub(super) struct MambaFields {
    pub(super) head_count: &'static str,
    pub(super) head_dim: &'static str,
    pub(super) group_count: &'static str,
    pub(super) state_size: &'static str,
    pub(super) conv_kernel: &'static str,
}

impl MambaFields {
    /// Fields of Granite 4 H and Falcon-H1.
    pub(super) const USUAL: Self = Self {
        head_count: "mamba_n_heads",
        head_dim: "mamba_d_head",
        group_count: "mamba_n_groups",
        state_size: "mamba_d_state",
        conv_kernel: "mamba_d_conv",
    };
}

/// Reads and checks a mixer's configuration; `malformed` or `unsupported-format`.
pub(super) fn read(
    source: &ConfigSource<'_>,
    fields: &MambaFields,
    hidden: u32,
    epsilon: f32,
) -> Result<MambaConfig> {
    let head_count = source.required_count("ssm.time_step_rank", fields.head_count)?;
    let head_dim = if source.is_gguf() {
        let inner = source.required_count("ssm.inner_size", "")?;
        if !inner.is_multiple_of(head_count) {
            let expected = format!("a multiple of the {head_count} heads");
            return Err(source.malformed(&source.field("ssm.inner_size", ""), inner, &expected));
        }
        inner / head_count
    } else {
        source.required_count("", fields.head_dim)?
    };
    let scan = ScanShape {
        head_count,
        head_dim,
        group_count: source.required_count("ssm.group_count", fields.group_count)?,
        state_size: source.required_count("ssm.state_size", fields.state_size)?,
        conv_kernel: source.required_count("ssm.conv_kernel", fields.conv_kernel)?,
        z_scale: Some(1.0),
        dt_scale: 1.0,
    };
    let config = MambaConfig::new(hidden, scan, epsilon);
    config.check().map_err(|InvalidSize { size, found, expected, code }| {
        let field = match size {
            MambaSize::HeadCount => source.field("ssm.time_step_rank", fields.head_count),
            MambaSize::HeadDim if source.is_gguf() => {
                source.field("ssm.inner_size", "") + " / ssm.time_step_rank"
            }
            MambaSize::HeadDim => fields.head_dim.to_owned(),
            MambaSize::GroupCount => source.field("ssm.group_count", fields.group_count),
            MambaSize::StateSize => source.field("ssm.state_size", fields.state_size),
            MambaSize::ConvKernel => source.field("ssm.conv_kernel", fields.conv_kernel),
        };
        source.error(code, &field, found, &expected)
    })?;
    source.check_width("width of the Mamba input projection", scan.projected().into())?;
    source.check_width("width of the Mamba convolution", scan.convolved_width().into())?;
    Ok(config)
}

/// Rejects a limit of the step size other than 0 to infinity, which has no effect: implementations
/// treat others differently. (`time_step_min` and `time_step_max` only initialize training.)
pub(super) fn check_step_limit(source: &ConfigSource<'_>, field: &str) -> Result<()> {
    let Some(list) = source.list(field)? else { return Ok(()) };
    let bounds: Vec<_> = list.iter().map(folder::number).collect();
    match bounds[..] {
        [Some(low), Some(f64::INFINITY)] if low <= 0.0 => Ok(()),
        _ => {
            let found = serde_json::Value::from(list);
            Err(source.unsupported(field, found, "from 0 to Infinity"))
        }
    }
}

/// Names of the tensors of layer `layer_index`. `hugging_face_prefix` is the prefix of a family's
/// names, e.g. `backbone.layers.{}.mixer.`; names in GGUF are the same for all families.
pub(super) fn tensors(is_gguf: bool, hugging_face_prefix: &str, layer_index: u32) -> MambaTensors {
    let prefix = if is_gguf { "blk.{}." } else { hugging_face_prefix };
    let prefix = prefix.replace("{}", &layer_index.to_string());
    let name =
        |gguf: &str, hugging_face: &str| prefix.clone() + if is_gguf { gguf } else { hugging_face };
    MambaTensors {
        input: name("ssm_in.weight", "in_proj.weight"),
        conv: name("ssm_conv1d.weight", "conv1d.weight"),
        conv_bias: name("ssm_conv1d.bias", "conv1d.bias"),
        dt_bias: name("ssm_dt.bias", "dt_bias"),
        decay: name("ssm_a", "A_log"),
        // GGUF stores A itself, and the norm's weight by groups.
        decay_transform: if is_gguf { Transform::None } else { Transform::MinusExp },
        skip: name("ssm_d", "D"),
        norm: name("ssm_norm.weight", "norm.weight"),
        is_norm_grouped: is_gguf,
        output: name("ssm_out.weight", "out_proj.weight"),
    }
}
