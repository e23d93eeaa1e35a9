//! Sliding windows of attention, layer by layer.

use super::config::ConfigSource;
use crate::error::Result;

/// Reads the sliding window of each layer, in tokens; `None` for full attention. Every `period`-th
/// layer has full attention, unless the configuration lists the layers; `period` and `window` are
/// defaults.
pub(super) fn read(
    source: &ConfigSource<'_>,
    layer_count: u32,
    period: u32,
    window: Option<u32>,
) -> Result<Vec<Option<u32>>> {
    let mut windows = vec![None; layer_count as usize];
    let window = source.count("attention.sliding_window", "sliding_window")?.or(window);
    let Some(window) = window.filter(|window| *window > 0) else { return Ok(windows) };
    let is_local = match listed(source, layer_count)? {
        Some(listed) => listed,
        None => by_period(source, layer_count, period)?,
    };
    for (slot, is_local) in windows.iter_mut().zip(is_local) {
        *slot = is_local.then_some(window);
    }
    Ok(windows)
}

/// Reads for each layer whether it has a window, from a list of all layers.
fn listed(source: &ConfigSource<'_>, layer_count: u32) -> Result<Option<Vec<bool>>> {
    if source.is_gguf() {
        return source.layer_flags("attention.sliding_window_pattern", layer_count);
    }
    let Some(kinds) = source.layer_kinds("layer_types", layer_count)? else { return Ok(None) };
    let is_local = |kind| match kind {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => {
            let known = "sliding_attention or full_attention";
            Err(source.unsupported("layer_types", other, known))
        }
    };
    kinds.into_iter().map(is_local).collect::<Result<_>>().map(Some)
}

fn by_period(source: &ConfigSource<'_>, layer_count: u32, period: u32) -> Result<Vec<bool>> {
    let key = "sliding_window_pattern";
    let period = source.count(&format!("attention.{key}"), key)?.unwrap_or(period);
    if period == 0 {
        return Err(source.malformed(key, 0, "at least 1"));
    }
    Ok((1..=layer_count).map(|layer| !layer.is_multiple_of(period)).collect())
}
