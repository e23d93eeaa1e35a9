//! Layers that several models share: functions that append kernels to a plan.

mod attention;
mod feed_forward;
mod mamba_mixer;

pub use attention::{AttentionWeights, QueryKeyNorms, RotaryPositions, attention};
pub use feed_forward::{GatedWeights, feed_forward, gated_feed_forward};
pub use mamba_mixer::{
    InvalidSize, MambaConfig, MambaSize, MambaTensors, MambaWeights, mamba_mixer,
};
