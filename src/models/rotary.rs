//! Rotary position embeddings (Su et al. 2021) as configurations describe them: rotated elements,
//! base frequency, scaling.

use super::config::ConfigSource;
use crate::error::Result;
use crate::kernels::{Pairing, RotaryTable};
use crate::layers::RotaryPositions;
use crate::plan::PlanBuilder;

/// Minimum of the scaling parameters, which keeps angles finite; real models have at least 1.
const MIN_SCALING: f64 = 1e-3;
/// GGUF tensor of divisors of the rotary frequencies, for models that scale them.
const DIVISORS: &str = "rope_freqs.weight";

/// The `llama3` scaling of rotary frequencies (Hugging Face `modeling_rope_utils`).
#[derive(Debug, Clone, Copy)]
struct Llama3Scaling {
    factor: f64,
    low: f64,
    high: f64,
    original_context: f64,
}

/// Scaling of the rotary frequencies `theta^(-2i / rotary_dim)`.
#[derive(Debug, Clone, Copy)]
enum Scaling {
    None,
    /// All frequencies divided by a factor (Chen et al. 2023).
    Linear(f64),
    Llama3(Llama3Scaling),
}

/// Rotary positions of some or all layers of a model.
pub(super) struct Rotary {
    rotary_dim: u32,
    theta: f64,
    scaling: Scaling,
    /// True if GGUF states the scaling as a tensor of divisors.
    has_divisors: bool,
    /// Pairing of the elements that are rotated together.
    pub(super) pairing: Pairing,
}

impl Rotary {
    /// Reads the configuration. transformers 5 writes it to the object `group`, or to one object in
    /// it per kind of layer; earlier versions to `rope_theta` and `rope_scaling`.
    pub(super) fn read(
        source: &ConfigSource<'_>,
        head_dim: u32,
        group: &str,
        default_theta: f64,
    ) -> Result<Self> {
        let full = format!("{group}.full_attention");
        let group = if source.has(&full) { &full } else { group };
        let rotary_dim = rotary_dim(source, head_dim, group)?;
        let theta = grouped(source, "rope.freq_base", group, "rope_theta")?;
        let has_divisors = has_divisors(source, rotary_dim)?;
        let group = if source.has("rope_scaling") { "rope_scaling" } else { group };
        let scaling = read_scaling(source, group)?;
        let plain = Self::plain(source, rotary_dim, theta.unwrap_or(default_theta))?;
        Ok(Self { scaling, has_divisors, ..plain })
    }

    /// Rotary positions without scaling.
    pub(super) fn plain(source: &ConfigSource<'_>, rotary_dim: u32, theta: f64) -> Result<Self> {
        if theta <= 1.0 {
            return Err(source.malformed("rope_theta", theta, "more than 1"));
        }
        let (scaling, pairing) = (Scaling::None, Pairing::Halves);
        Ok(Self { rotary_dim, theta, scaling, has_divisors: false, pairing })
    }

    /// Registers the table of cosines and sines in a plan.
    pub(super) fn positions(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        context_length: u32,
    ) -> RotaryPositions {
        let table = plan.resources.rotary_table(RotaryTable {
            frequencies: (0..self.rotary_dim / 2).map(|pair| self.frequency(pair)).collect(),
            divisors: self.has_divisors.then(|| DIVISORS.to_owned()),
            context_length,
        });
        RotaryPositions {
            query_table: table,
            key_table: table,
            rotary_dim: self.rotary_dim,
            pairing: self.pairing,
        }
    }

    /// Frequency of a pair, in radians per position. `llama3` scaling divides low frequencies by
    /// the factor, keeps high ones and interpolates in between.
    fn frequency(&self, pair: u32) -> f32 {
        let plain = self.theta.powf(-2.0 * f64::from(pair) / f64::from(self.rotary_dim));
        let scaled = match self.scaling {
            Scaling::None => plain,
            Scaling::Linear(factor) => plain / factor,
            Scaling::Llama3(Llama3Scaling { factor, low, high, original_context }) => {
                let rotations = original_context * plain / std::f64::consts::TAU;
                let smooth = ((rotations - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - smooth) * plain / factor + smooth * plain
            }
        };
        scaled as f32
    }
}

/// Reads a number from the group, or from outside if absent: the lookup order of transformers.
fn grouped(source: &ConfigSource<'_>, gguf: &str, group: &str, name: &str) -> Result<Option<f64>> {
    let inner = format!("{group}.{name}");
    source.number(gguf, if source.has(&inner) { &inner } else { name })
}

/// Number of rotated elements of a head: a count in GGUF, a fraction of the head in `config.json`.
fn rotary_dim(source: &ConfigSource<'_>, head_dim: u32, group: &str) -> Result<u32> {
    let (gguf, name) = ("rope.dimension_count", "partial_rotary_factor");
    let found = if source.is_gguf() {
        source.count(gguf, name)?
    } else {
        let share = grouped(source, gguf, group, name)?;
        share.map(|share| (share * f64::from(head_dim)) as u32)
    };
    let rotary_dim = found.unwrap_or(head_dim);
    if rotary_dim == 0 || rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
        let field = if source.is_gguf() { gguf } else { name };
        let found = format!("{rotary_dim} rotated elements");
        return Err(source.malformed(field, found, &format!("an even number up to {head_dim}")));
    }
    Ok(rotary_dim)
}

fn read_scaling(source: &ConfigSource<'_>, group: &str) -> Result<Scaling> {
    let field = |name: &str| format!("{group}.{name}");
    let kind = match source.text("rope.scaling.type", &field("rope_type"))? {
        Some(kind) => kind,
        None => source.text("rope.scaling.type", &field("type"))?.unwrap_or("none"),
    };
    let number = |gguf: &str, name: &str| {
        let found = source.number(gguf, &field(name))?;
        match found {
            Some(number) if number >= MIN_SCALING => Ok(number),
            _ => {
                let found = found.map_or("nothing".to_owned(), |number| number.to_string());
                let expected = format!("a number of at least {MIN_SCALING}");
                Err(source.malformed(&source.field(gguf, &field(name)), found, &expected))
            }
        }
    };
    match kind {
        "none" | "default" => Ok(Scaling::None),
        "linear" => Ok(Scaling::Linear(number("rope.scaling.factor", "factor")?)),
        "llama3" => {
            let scaling = Llama3Scaling {
                factor: number("rope.scaling.factor", "factor")?,
                low: number("rope.scaling.low_freq_factor", "low_freq_factor")?,
                high: number("rope.scaling.high_freq_factor", "high_freq_factor")?,
                original_context: number(
                    "rope.scaling.original_context_length",
                    "original_max_position_embeddings",
                )?,
            };
            if scaling.high <= scaling.low {
                let expected = format!("more than low_freq_factor, {}", scaling.low);
                return Err(source.malformed(&field("high_freq_factor"), scaling.high, &expected));
            }
            Ok(Scaling::Llama3(scaling))
        }
        other => {
            let field = source.field("rope.scaling.type", &field("rope_type"));
            Err(source.unsupported(&field, other, "none, linear or llama3"))
        }
    }
}

/// True if the file has divisors. Early converters wrote too few if `head_dim` is not
/// `hidden / head_count`: `malformed`.
fn has_divisors(source: &ConfigSource<'_>, rotary_dim: u32) -> Result<bool> {
    match source.vector_length(DIVISORS) {
        None => Ok(false),
        Some(length) if length == rotary_dim as usize / 2 => Ok(true),
        Some(length) => {
            let expected = format!(
                "{} divisors, one per pair of a head (an early converter took hidden_size / \
                 num_attention_heads for the head size: convert the model again)",
                rotary_dim / 2
            );
            Err(source.malformed(DIVISORS, length, &expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.1's configuration: pairs up to 28 keep their frequency, from 35 on it is an eighth.
    #[test]
    fn llama3_scaling_blends_between_its_wavelengths() {
        let rotary = |scaling| Rotary {
            rotary_dim: 128,
            theta: 500_000.0,
            scaling,
            has_divisors: false,
            pairing: Pairing::Halves,
        };
        let scaling = Llama3Scaling { factor: 8.0, low: 1.0, high: 4.0, original_context: 8192.0 };
        let (scaled, plain) = (rotary(Scaling::Llama3(scaling)), rotary(Scaling::None));
        for pair in 0..64 {
            let ratio = f64::from(scaled.frequency(pair)) / f64::from(plain.frequency(pair));
            match pair {
                0..=28 => assert!((ratio - 1.0).abs() < 1e-6, "{pair}: {ratio}"),
                29..=34 => assert!((0.126..0.999).contains(&ratio), "{pair}: {ratio}"),
                _ => assert!((ratio - 0.125).abs() < 1e-6, "{pair}: {ratio}"),
            }
        }
    }
}
