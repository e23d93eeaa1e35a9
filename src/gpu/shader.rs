//! Assembles a shader: the kernel's text, the weight format's, and what they import.
//!
//! WGSL's module scope does not depend on order, so an import is a paste.

use crate::error::{Error, Result};
use crate::formats::Format;
use crate::kernels::shader_piece;

/// The whole WGSL text of a kernel over weights of that format.
pub fn assemble(kernel_text: &str, format: Option<Format>) -> Result<String> {
    let mut imported = Vec::new();
    let mut text = String::new();
    paste(kernel_text, &mut imported, &mut text)?;
    if let Some(format) = format {
        paste(format.rules().shader(), &mut imported, &mut text)?;
    }
    Ok(text)
}

fn paste(source: &str, imported: &mut Vec<String>, text: &mut String) -> Result<()> {
    for line in source.lines() {
        let Some(name) = line.strip_prefix("#import ") else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let name = name.trim();
        if imported.iter().any(|other| other == name) {
            continue;
        }
        imported.push(name.to_owned());
        let piece =
            shader_piece(name).ok_or_else(|| Error::internal(format!("no shader piece is called {name}")))?;
        paste(piece, imported, text)?;
    }
    Ok(())
}
