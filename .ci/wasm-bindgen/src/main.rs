//! The wasm-bindgen step of the build: turns a wasm file into an ES module for browsers.
//!
//! It replaces wasm-bindgen's own command line, whose dependencies cannot be locked.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

/// `wasm-bindgen-step IN.wasm OUT_DIR NAME` writes `NAME.js`, `NAME_bg.wasm` and their types.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, out_dir, name] = arguments.as_slice() else {
        eprintln!("usage: wasm-bindgen-step IN.wasm OUT_DIR NAME");
        return ExitCode::from(2);
    };
    match generate(input, out_dir, name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {input}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Generates the bindings for the target `web` with TypeScript declarations, and removes the wasm's
/// name section, a fifth of its size.
fn generate(input: &str, out_dir: &str, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut bindgen = Bindgen::new();
    bindgen
        .input_path(input)
        .out_name(name)
        .typescript(true)
        .remove_name_section(true)
        .web(true)?;
    bindgen.generate(out_dir)?;
    Ok(())
}
