//! How the products of many rows are shared out among workgroups and lanes: `shaders/tiles/`. All
//! tiles mean the same; which is fastest depends on the adapter.

use serde::{Deserialize, Serialize};

use super::Import;

/// Rows and outputs that a workgroup computes, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tile {
    /// Weights and inputs staged in workgroup memory, for graphics cards.
    #[default]
    Staged,
    /// Each lane by itself, in registers, for processors that act as a GPU.
    Registers,
    /// The same, and four lanes share the loading of inputs; needs subgroups.
    Quads,
    /// The same, and eight lanes do; needs subgroups of so many.
    Eights,
}

impl Tile {
    /// Every tile.
    pub const ALL: [Tile; 4] = [Tile::Staged, Tile::Registers, Tile::Quads, Tile::Eights];

    /// Its name, in options and reports.
    pub fn name(self) -> &'static str {
        match self {
            Tile::Staged => "staged",
            Tile::Registers => "registers",
            Tile::Quads => "quads",
            Tile::Eights => "eights",
        }
    }

    /// The feature it needs if it is not among these, by the name in an adapter's report.
    pub fn lacks(self, features: &[String]) -> Option<&'static str> {
        let needed = match self {
            Tile::Staged | Tile::Registers => return None,
            Tile::Quads => "subgroups",
            Tile::Eights => "subgroups-of-8",
        };
        features.iter().all(|feature| feature != needed).then_some(needed)
    }

    /// Whether lanes load what several want for each other.
    pub(super) fn shares_loads(self) -> bool {
        matches!(self, Tile::Quads | Tile::Eights)
    }

    pub(super) fn imports(self) -> Vec<Import> {
        match self {
            Tile::Staged => vec![("tile", "tiles/staged")],
            Tile::Registers => vec![("tile", "tiles/registers"), ("inputs", "variants/inputs")],
            Tile::Quads => vec![("tile", "tiles/registers"), ("inputs", "subgroups/inputs")],
            Tile::Eights => vec![("tile", "tiles/registers"), ("inputs", "subgroups/eighths")],
        }
    }

    /// Rows and outputs of a workgroup.
    pub(super) fn size(self) -> [u32; 2] {
        match self {
            Tile::Staged => [64, 128],
            Tile::Registers | Tile::Quads | Tile::Eights => [32, 64],
        }
    }
}
