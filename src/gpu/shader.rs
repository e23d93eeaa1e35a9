//! Assembles a shader: the kernel's text, the weight format's, and what they import.
//!
//! WGSL's module scope does not depend on order, so an import is a paste. It names a file of
//! `shaders/`, or a slot, which the kernel fills with such a file; a slot may have a file's name, which
//! is then what fills it otherwise.

use crate::error::{Error, Result};
use crate::formats::Format;
use crate::kernels::{Import, shader_piece};

/// The whole WGSL text of a kernel, its slots filled, over weights of that format.
pub fn assemble(kernel_text: &str, slots: &[Import], format: Option<Format>) -> Result<String> {
    let mut text = Assembly { slots, imported: Vec::new(), text: header(slots) };
    text.paste(kernel_text)?;
    if let Some(format) = format {
        text.paste(format.rules().shader())?;
    }
    Ok(text.text)
}

/// What browsers want said before anything else of subgroups; naga knows neither line. Control flow is
/// uniform wherever subgroups work together, which takes the constants to see.
const SUBGROUPS: &str = "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n";

fn header(slots: &[Import]) -> String {
    let needs = |folder: &str| slots.iter().any(|(_, file)| file.starts_with(folder));
    let subgroups =
        if needs("subgroups/") && cfg!(target_arch = "wasm32") { SUBGROUPS } else { "" };
    let f16 = if needs("f16/") { "enable f16;\n" } else { "" };
    // A diagnostic comes after all that is enabled.
    format!("{f16}{subgroups}")
}

struct Assembly<'a> {
    slots: &'a [Import],
    imported: Vec<String>,
    text: String,
}

impl Assembly<'_> {
    fn paste(&mut self, source: &str) -> Result<()> {
        for line in source.lines() {
            let Some(name) = line.strip_prefix("#import ") else {
                self.text.push_str(line);
                self.text.push('\n');
                continue;
            };
            let name = name.trim();
            let name =
                self.slots.iter().find(|(slot, _)| *slot == name).map_or(name, |(_, file)| file);
            if self.imported.iter().any(|other| other == name) {
                continue;
            }
            self.imported.push(name.to_owned());
            let piece = shader_piece(name)
                .ok_or_else(|| Error::internal(format!("no shader piece is called {name}")))?;
            self.paste(piece)?;
        }
        Ok(())
    }
}
