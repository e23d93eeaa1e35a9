//! Layers that several models share: functions that append kernels to a plan.

mod attention;
mod feed_forward;
mod mamba_mixer;
mod short_conv;

pub use attention::{AttentionWeights, QueryKeyNorms, RotaryPositions, attention, attention_heads};
pub use feed_forward::{GatedWeights, feed_forward, gated_feed_forward};
pub use mamba_mixer::{
    InvalidSize, MambaConfig, MambaSize, MambaTensors, MambaWeights, mamba_mixer,
};
pub use short_conv::{ShortConvWeights, short_conv};
