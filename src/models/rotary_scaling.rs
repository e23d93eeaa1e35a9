//! Scaling of rotary frequencies, by which models read longer contexts than they were trained for.
//!
//! Source: `modeling_rope_utils` of Hugging Face transformers, and `llama_context` of llama.cpp for
//! the keys of GGUF.

use std::f64::consts::TAU;

use serde_json::Value;

use super::config::ConfigSource;
use crate::error::Result;
use crate::weights::folder;

/// Minimum of the scaling parameters, which keeps angles finite; real models have at least 1.
const MIN_SCALING: f64 = 1e-3;
/// GGUF tensors of the divisors of `longrope`.
const LONG_DIVISORS: &str = "rope_factors_long.weight";
const SHORT_DIVISORS: &str = "rope_factors_short.weight";

/// Scaling of the rotary frequencies `theta^(-2i / rotary_dim)`.
#[derive(Debug, Clone)]
pub(super) enum Scaling {
    None,
    /// All frequencies divided by a factor (Chen et al. 2023).
    Linear(f64),
    Llama3(Llama3Scaling),
    /// NTK-aware scaling: a base frequency that this factor raises.
    NtkAlpha(f64),
    Yarn(YarnScaling),
    LongRope(LongRope),
}

/// The `llama3` scaling.
#[derive(Debug, Clone, Copy)]
pub(super) struct Llama3Scaling {
    pub(super) factor: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) original_context: f64,
}

/// YaRN (Peng et al. 2023): frequencies that rotate less than `slow` times in the original context
/// are divided by the factor, those that rotate more than `fast` times are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct YarnScaling {
    factor: f64,
    fast: f64,
    slow: f64,
    original_context: f64,
    /// True if the ends of the range in between are whole pairs.
    truncate: bool,
    /// Factor of cosines and sines.
    magnitude: f64,
}

/// LongRoPE (Ding et al. 2024): a divisor for each frequency, one list up to the original context
/// length and another beyond.
#[derive(Debug, Clone)]
pub(super) struct LongRope {
    short: Divisors,
    long: Divisors,
    original_context: u32,
    magnitude: f64,
}

#[derive(Debug, Clone)]
enum Divisors {
    Values(Vec<f64>),
    Tensor(&'static str),
}

impl Scaling {
    /// Frequency of a pair, in radians per position.
    pub(super) fn frequency(
        &self,
        pair: u32,
        rotary_dim: u32,
        theta: f64,
        context_length: u32,
    ) -> f32 {
        let plain = theta.powf(-2.0 * f64::from(pair) / f64::from(rotary_dim));
        let scaled = match self {
            Scaling::None => plain,
            Scaling::Linear(factor) => plain / factor,
            Scaling::Llama3(llama3) => llama3.scaled(plain),
            // The factor is that of the slowest pair.
            Scaling::NtkAlpha(alpha) if rotary_dim > 2 => {
                plain * alpha.powf(-2.0 * f64::from(pair) / f64::from(rotary_dim - 2))
            }
            Scaling::NtkAlpha(_) => plain,
            Scaling::Yarn(yarn) => yarn.scaled(plain, pair, rotary_dim, theta),
            Scaling::LongRope(longrope) => match longrope.divisors(context_length) {
                Divisors::Values(values) => plain / values[pair as usize],
                Divisors::Tensor(_) => plain,
            },
        };
        scaled as f32
    }

    /// Tensor of further divisors of the frequencies.
    pub(super) fn divisors(&self, context_length: u32) -> Option<&'static str> {
        match self {
            Scaling::LongRope(longrope) => match longrope.divisors(context_length) {
                Divisors::Tensor(name) => Some(name),
                Divisors::Values(_) => None,
            },
            _ => None,
        }
    }

    /// Tensor of divisors for contexts of other lengths.
    pub(super) fn other_divisors(&self, context_length: u32) -> Option<&'static str> {
        let Scaling::LongRope(longrope) = self else { return None };
        let Divisors::Tensor(used) = longrope.divisors(context_length) else { return None };
        Some(if *used == LONG_DIVISORS { SHORT_DIVISORS } else { LONG_DIVISORS })
    }

    /// Factor of cosines and sines.
    pub(super) fn magnitude(&self) -> f32 {
        match self {
            Scaling::Yarn(yarn) => yarn.magnitude as f32,
            Scaling::LongRope(longrope) => longrope.magnitude as f32,
            _ => 1.0,
        }
    }

    /// Reads the scaling of `rotary_dim` elements; in `config.json` it is in the object `group`.
    pub(super) fn read(source: &ConfigSource<'_>, group: &str, rotary_dim: u32) -> Result<Self> {
        let fields = Fields { source, group };
        let kind = match source.text("rope.scaling.type", &fields.path("rope_type"))? {
            Some(kind) => kind,
            None => source.text("rope.scaling.type", &fields.path("type"))?.unwrap_or("none"),
        };
        match kind {
            // llama.cpp's converter states no type for the family that has these tensors.
            "none" | "default" | "longrope" | "su" if source.has_tensor(LONG_DIVISORS) => {
                fields.longrope_of_gguf(rotary_dim)
            }
            "none" | "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear(fields.required("rope.scaling.factor", "factor")?)),
            "llama3" => fields.llama3(),
            "dynamic" if source.has(&fields.path("alpha")) => {
                Ok(Scaling::NtkAlpha(fields.required("", "alpha")?))
            }
            "yarn" => fields.yarn(),
            "longrope" | "su" if !source.is_gguf() => fields.longrope(rotary_dim),
            other => {
                let field = source.field("rope.scaling.type", &fields.path("rope_type"));
                Err(source.unsupported(&field, other, "none, linear, llama3, yarn or longrope"))
            }
        }
    }
}

impl Llama3Scaling {
    /// Low frequencies are divided by the factor, high ones kept, those in between interpolated.
    fn scaled(&self, plain: f64) -> f64 {
        let rotations = self.original_context * plain / TAU;
        let smooth = ((rotations - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        (1.0 - smooth) * plain / self.factor + smooth * plain
    }
}

impl YarnScaling {
    fn scaled(&self, plain: f64, pair: u32, rotary_dim: u32, theta: f64) -> f64 {
        // The pair that rotates so many times in the original context.
        let pair_of = |rotations: f64| {
            f64::from(rotary_dim) * (self.original_context / (rotations * TAU)).ln()
                / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair_of(self.fast), pair_of(self.slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, high) = (low.max(0.0), high.min(f64::from(rotary_dim) - 1.0));
        let width = if high == low { 0.001 } else { high - low };
        let ramp = ((f64::from(pair) - low) / width).clamp(0.0, 1.0);
        plain / self.factor * ramp + plain * (1.0 - ramp)
    }
}

impl LongRope {
    fn divisors(&self, context_length: u32) -> &Divisors {
        if context_length > self.original_context { &self.long } else { &self.short }
    }
}

/// The fields of one object of `config.json`, or their counterparts in GGUF.
struct Fields<'a, 'b> {
    source: &'a ConfigSource<'b>,
    group: &'a str,
}

impl Fields<'_, '_> {
    /// Path of a field in `config.json`.
    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.group)
    }

    fn number(&self, gguf: &str, name: &str) -> Result<Option<f64>> {
        let found = self.source.number(gguf, &self.path(name))?;
        match found {
            Some(number) if number < MIN_SCALING => Err(self.too_small(gguf, name, number)),
            found => Ok(found),
        }
    }

    fn required(&self, gguf: &str, name: &str) -> Result<f64> {
        self.number(gguf, name)?.ok_or_else(|| self.too_small(gguf, name, "nothing"))
    }

    fn too_small(
        &self,
        gguf: &str,
        name: &str,
        found: impl std::fmt::Display,
    ) -> crate::error::Error {
        let field = self.source.field(gguf, &self.path(name));
        let expected = format!("a number of at least {MIN_SCALING}");
        self.source.malformed(&field, found, &expected)
    }

    /// Context length that the model was first trained with; some configurations state it beside
    /// the object.
    fn original_context(&self) -> Result<f64> {
        let (gguf, name) =
            ("rope.scaling.original_context_length", "original_max_position_embeddings");
        if !self.source.is_gguf() && !self.source.has(&self.path(name)) {
            let found = self.source.number("", name)?;
            return found
                .filter(|found| *found >= 1.0)
                .ok_or_else(|| self.source.malformed(name, "nothing", "a number of at least 1"));
        }
        self.required(gguf, name)
    }

    fn llama3(&self) -> Result<Scaling> {
        let scaling = Llama3Scaling {
            factor: self.required("rope.scaling.factor", "factor")?,
            low: self.required("rope.scaling.low_freq_factor", "low_freq_factor")?,
            high: self.required("rope.scaling.high_freq_factor", "high_freq_factor")?,
            original_context: self.original_context()?,
        };
        if scaling.high <= scaling.low {
            let expected = format!("more than low_freq_factor, {}", scaling.low);
            let field = self.path("high_freq_factor");
            return Err(self.source.malformed(&field, scaling.high, &expected));
        }
        Ok(Scaling::Llama3(scaling))
    }

    fn yarn(&self) -> Result<Scaling> {
        let factor = self.required("rope.scaling.factor", "factor")?;
        let number = |gguf: &str, name: &str, default: f64| -> Result<f64> {
            Ok(self.number(gguf, name)?.unwrap_or(default))
        };
        let scale = |multiplier: f64| {
            if factor <= 1.0 { 1.0 } else { 0.1 * multiplier * factor.ln() + 1.0 }
        };
        let magnitude = if self.source.is_gguf() {
            // llama.cpp takes 1 for the numerator's multiplier.
            let all = self.number("rope.scaling.yarn_log_multiplier", "")?;
            all.map_or(scale(1.0), |all| scale(1.0) / scale(all))
                * number("rope.scaling.attn_factor", "", 1.0)?
        } else if let Some(factor) = self.number("", "attention_factor")? {
            factor
        } else {
            // Zero means none here.
            let multiplier = |name: &str| -> Result<Option<f64>> {
                let found = self.source.number("", &self.path(name))?;
                Ok(found.filter(|found| *found > 0.0))
            };
            match (multiplier("mscale")?, multiplier("mscale_all_dim")?) {
                (Some(one), Some(all)) => scale(one) / scale(all),
                _ => scale(1.0),
            }
        };
        Ok(Scaling::Yarn(YarnScaling {
            factor,
            fast: number("rope.scaling.yarn_beta_fast", "beta_fast", 32.0)?,
            slow: number("rope.scaling.yarn_beta_slow", "beta_slow", 1.0)?,
            original_context: self.original_context()?,
            truncate: self.source.flag(&self.path("truncate"))? != Some(false),
            magnitude,
        }))
    }

    fn longrope(&self, rotary_dim: u32) -> Result<Scaling> {
        let original_context = self.original_context()?;
        let magnitude = match self.number("", "attention_factor")? {
            Some(factor) => factor,
            None => {
                let factor = match self.number("", "factor")? {
                    Some(factor) => factor,
                    None => {
                        let context = self.source.required_count("", "max_position_embeddings")?;
                        f64::from(context) / original_context
                    }
                };
                if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original_context.ln()).sqrt() }
            }
        };
        Ok(Scaling::LongRope(LongRope {
            short: self.divisors("short_factor", rotary_dim)?,
            long: self.divisors("long_factor", rotary_dim)?,
            original_context: original_context as u32,
            magnitude: self.finite_magnitude(magnitude)?,
        }))
    }

    fn longrope_of_gguf(&self, rotary_dim: u32) -> Result<Scaling> {
        for tensor in [SHORT_DIVISORS, LONG_DIVISORS] {
            let found = self.source.vector_length(tensor);
            if found != Some(rotary_dim as usize / 2) {
                let found = found.map_or("no vector".to_owned(), |length| length.to_string());
                let expected = format!("{} divisors", rotary_dim / 2);
                return Err(self.source.malformed(tensor, found, &expected));
            }
        }
        let magnitude = self.number("rope.scaling.attn_factor", "")?.unwrap_or(1.0);
        Ok(Scaling::LongRope(LongRope {
            short: Divisors::Tensor(SHORT_DIVISORS),
            long: Divisors::Tensor(LONG_DIVISORS),
            original_context: self.original_context()? as u32,
            magnitude,
        }))
    }

    /// Refuses a magnitude that follows from an original context of one position.
    fn finite_magnitude(&self, magnitude: f64) -> Result<f64> {
        if (MIN_SCALING..1e6).contains(&magnitude) {
            return Ok(magnitude);
        }
        let field = self.path("attention_factor");
        Err(self.source.malformed(&field, magnitude, "a number from 0.001 to 10^6"))
    }

    /// Reads a list of divisors, one for each pair.
    fn divisors(&self, name: &str, rotary_dim: u32) -> Result<Divisors> {
        let field = self.path(name);
        let list = self.source.list(&field)?.unwrap_or_default();
        let pairs = rotary_dim as usize / 2;
        if list.len() != pairs {
            let expected = format!("{pairs} numbers, one for each pair of a head");
            return Err(self.source.malformed(
                &field,
                format!("{} numbers", list.len()),
                &expected,
            ));
        }
        let number = |value: &Value| {
            let found = folder::number(value).filter(|found| (MIN_SCALING..1e12).contains(found));
            let expected = format!("numbers from {MIN_SCALING} to 10^12");
            found.ok_or_else(|| self.source.malformed(&field, value, &expected))
        };
        Ok(Divisors::Values(list.iter().map(number).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.1's configuration: pairs up to 28 keep their frequency, from 35 on it is an eighth.
    #[test]
    fn llama3_scaling_blends_between_its_wavelengths() {
        let scaling = Llama3Scaling { factor: 8.0, low: 1.0, high: 4.0, original_context: 8192.0 };
        let frequency = |scaling: &Scaling, pair| scaling.frequency(pair, 128, 500_000.0, 8192);
        let scaled = Scaling::Llama3(scaling);
        for pair in 0..64 {
            let plain = frequency(&Scaling::None, pair);
            let ratio = f64::from(frequency(&scaled, pair)) / f64::from(plain);
            match pair {
                0..=28 => assert!((ratio - 1.0).abs() < 1e-6, "{pair}: {ratio}"),
                29..=34 => assert!((0.126..0.999).contains(&ratio), "{pair}: {ratio}"),
                _ => assert!((ratio - 0.125).abs() < 1e-6, "{pair}: {ratio}"),
            }
        }
    }
}
