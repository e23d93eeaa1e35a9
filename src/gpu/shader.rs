//! Shader assembly: the kernel's WGSL, the weight format's, and the files that they import.
//!
//! WGSL's module scope does not depend on order, so an import is replaced by the file's text,
//! once. `#import` names a file of `shaders/`, or a slot for which the kernel chooses a file. A
//! slot named like a file has that file as its default.

use crate::error::{Error, Result};
use crate::formats::Format;
use crate::kernels::{Import, shader_feature, shader_piece};

/// Assembles the WGSL of a kernel with its slots filled, for weights of that format. `internal` if
/// an imported file does not exist.
pub fn assemble(kernel_text: &str, slots: &[Import], format: Option<Format>) -> Result<String> {
    let mut text = Assembly { slots, imported: Vec::new(), text: header(slots) };
    text.paste(kernel_text)?;
    if let Some(format) = format {
        text.paste(format.rules().shader())?;
    }
    Ok(text.text)
}

/// Directives that browsers require for subgroups, and that naga does not know. Subgroup operations
/// are in uniform control flow, but only with the values of the constants.
const SUBGROUPS: &str = "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n";

fn header(slots: &[Import]) -> String {
    let uses = |feature| slots.iter().any(|(_, file)| shader_feature(file) == Some(feature));
    let subgroups = if uses("subgroups") && cfg!(target_arch = "wasm32") { SUBGROUPS } else { "" };
    let f16 = if uses("shader-f16") { "enable f16;\n" } else { "" };
    // WGSL requires diagnostics after all enables.
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
            let unknown = || Error::internal(format!("#import {name}: found no such shader file"));
            self.paste(shader_piece(name).ok_or_else(unknown)?)?;
        }
        Ok(())
    }
}
