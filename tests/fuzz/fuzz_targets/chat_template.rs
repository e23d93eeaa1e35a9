//! An arbitrary chat template, rendered with messages and tools.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tablm_fuzz::check;
use tablm_fuzz::text::{ChatTemplate, CivilTime, RenderOptions};

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let template = match ChatTemplate::new("t.jinja", source, "<s>", "</s>") {
        Ok(template) => template,
        Err(error) => return check(&error),
    };
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "  Hi <there> é "},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f",
            "arguments": {"x": [1, 2.5]}}}]},
        {"role": "tool", "content": "3"}
    ]);
    let tools =
        json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {}}}}]);
    let options = RenderOptions {
        tools: Some(&tools),
        add_generation_prompt: true,
        extra: None,
        now: Some(CivilTime::from_unix(1_700_000_000)),
    };
    if let Err(error) = template.render(&messages, &options) {
        check(&error);
    }
});
