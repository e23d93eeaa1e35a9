//! Rotary positions of which only the first pairs of a head turn: pairs and frequencies are those
//! of the whole head, and the frequencies of the other pairs are 0.

use super::config::ConfigSource;
use crate::error::Result;
use crate::kernels::{Pairing, RotaryTable};
use crate::layers::RotaryPositions;
use crate::plan::PlanBuilder;

/// GGUF tensor of divisors of the frequencies: 1, or 1e30 for pairs that do not turn.
const DIVISORS: &str = "rope_freqs.weight";

/// Rotary positions as `_compute_proportional_rope_parameters` of transformers computes them.
pub(super) struct ProportionalRotary {
    head_dim: u32,
    theta: f64,
    /// Pairs that turn.
    turning: u32,
    has_divisors: bool,
}

impl ProportionalRotary {
    /// Reads the configuration: in GGUF the divisors, in `config.json` the object `group`.
    /// `default_share` is the share of turning pairs if there is no such object.
    pub(super) fn read(
        source: &ConfigSource<'_>,
        head_dim: u32,
        group: &str,
        default_theta: f64,
        default_share: f64,
    ) -> Result<Self> {
        let field = |name: &str| format!("{group}.{name}");
        let (theta_field, share_field) = (field("rope_theta"), field("partial_rotary_factor"));
        let theta = source.number("rope.freq_base", &theta_field)?.unwrap_or(default_theta);
        if theta <= 1.0 {
            let field = source.field("rope.freq_base", &theta_field);
            return Err(source.malformed(&field, theta, "more than 1"));
        }
        if !head_dim.is_multiple_of(2) {
            let field = source.field("attention.key_length", "head_dim");
            return Err(source.malformed(&field, head_dim, "an even number"));
        }
        let pairs = head_dim / 2;
        if source.is_gguf() {
            let has_divisors = match source.vector_length(DIVISORS) {
                None => false,
                Some(length) if length == pairs as usize => true,
                Some(length) => {
                    return Err(source.malformed(DIVISORS, length, &format!("{pairs} divisors")));
                }
            };
            return Ok(Self { head_dim, theta, turning: pairs, has_divisors });
        }
        source.check_choice("", &field("rope_type"), &["proportional", "default"])?;
        let factor = field("factor");
        if let Some(found) = source.number("", &factor)?.filter(|found| *found != 1.0) {
            return Err(source.unsupported(&factor, found, "1"));
        }
        let default_share = if source.has(group) { 1.0 } else { default_share };
        let share = source.number("", &share_field)?.unwrap_or(default_share);
        if !(0.0..=1.0).contains(&share) {
            return Err(source.malformed(&share_field, share, "0 to 1"));
        }
        let turning = (share * f64::from(head_dim) / 2.0) as u32;
        Ok(Self { head_dim, theta, turning, has_divisors: false })
    }

    /// Registers the table of cosines and sines in a plan.
    pub(super) fn positions(
        &self,
        plan: &mut PlanBuilder<'_, '_>,
        context_length: u32,
    ) -> RotaryPositions {
        let frequency = |pair: u32| match pair < self.turning {
            true => self.theta.powf(-2.0 * f64::from(pair) / f64::from(self.head_dim)) as f32,
            false => 0.0,
        };
        let table = plan.resources.rotary_table(RotaryTable {
            frequencies: (0..self.head_dim / 2).map(frequency).collect(),
            divisors: self.has_divisors.then(|| DIVISORS.to_owned()),
            magnitude: 1.0,
            position_scale: None,
            context_length,
        });
        RotaryPositions {
            query_table: table,
            key_table: table,
            rotary_dim: self.head_dim,
            pairing: Pairing::Halves,
        }
    }
}
