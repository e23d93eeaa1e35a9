//! Rotary position embeddings (Su et al. 2021) as configurations describe them: rotated elements,
//! base frequency.

use super::config::ConfigSource;
use super::rotary_scaling::Scaling;
use crate::error::Result;
use crate::kernels::{Pairing, PositionScale, RotaryTable};
use crate::layers::RotaryPositions;
use crate::plan::PlanBuilder;

/// GGUF tensor of divisors of the rotary frequencies, for models that scale them.
const DIVISORS: &str = "rope_freqs.weight";

/// Rotary positions of some or all layers of a model.
pub(super) struct Rotary {
    rotary_dim: u32,
    theta: f64,
    scaling: Scaling,
    /// True if GGUF states the scaling as a tensor of divisors.
    has_divisors: bool,
    /// Factor of queries that grows with their position.
    pub(super) query_scale: Option<PositionScale>,
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
        let scaling = Scaling::read(source, group, rotary_dim)?;
        let plain = Self::plain(source, rotary_dim, theta.unwrap_or(default_theta))?;
        Ok(Self { scaling, has_divisors, ..plain })
    }

    /// Rotary positions without scaling.
    pub(super) fn plain(source: &ConfigSource<'_>, rotary_dim: u32, theta: f64) -> Result<Self> {
        if theta <= 1.0 {
            return Err(source.malformed("rope_theta", theta, "more than 1"));
        }
        let (scaling, pairing) = (Scaling::None, Pairing::Halves);
        let (has_divisors, query_scale) = (false, None);
        Ok(Self { rotary_dim, theta, scaling, has_divisors, query_scale, pairing })
    }

    /// Rotation of the same elements without scaling, with another base frequency if one is given.
    pub(super) fn unscaled(&self, source: &ConfigSource<'_>, theta: Option<f64>) -> Result<Self> {
        let plain = Self::plain(source, self.rotary_dim, theta.unwrap_or(self.theta))?;
        Ok(Self { pairing: self.pairing, ..plain })
    }

    /// Registers the tables of cosines and sines in a plan.
    pub(super) fn positions(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        context_length: u32,
    ) -> RotaryPositions {
        let Self { rotary_dim, theta, scaling, pairing, .. } = self;
        let frequency = |pair| scaling.frequency(pair, *rotary_dim, *theta, context_length);
        if let Some(tensor) = scaling.other_divisors(context_length) {
            plan.resources.leave_out(tensor);
        }
        let divisors = self.has_divisors.then_some(DIVISORS);
        let keys = RotaryTable {
            frequencies: (0..rotary_dim / 2).map(frequency).collect(),
            divisors: divisors.or(scaling.divisors(context_length)).map(str::to_owned),
            magnitude: scaling.magnitude(),
            position_scale: None,
            context_length,
        };
        // Positions before the first step of the scale need no second table.
        let query_scale = self.query_scale.filter(|scale| scale.begins_before(context_length));
        let queries = RotaryTable { position_scale: query_scale, ..keys.clone() };
        RotaryPositions {
            query_table: plan.resources.rotary_table(queries),
            key_table: plan.resources.rotary_table(keys),
            rotary_dim: *rotary_dim,
            pairing: *pairing,
        }
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
