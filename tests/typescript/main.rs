//! Options, reports and error codes are declared in Rust: `pkg/src/generated/` and `docs/api.md`
//! must equal what the Rust types give. `make types` rewrites both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod declaration;
mod documents;

use std::path::Path;

use declaration::{Declaration, Field, comment, interface, list_text, named_union, union, values};
use tablm::engine::{self, camel_case, request_fields};
use tablm::{cpu, error, gpu, kernels, text, weights};

/// Options that the worker adds, and those of tests and measurements.
const INTERNAL_OPTIONS: [&str; 3] = ["adapter", "tuningCache", "chunk"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Compares a file with the expected text; with `UPDATE=1` in the environment, writes that text.
fn compare(path: &str, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(path), expected).unwrap();
        return;
    }
    let found = read(path);
    let differing = found.lines().zip(expected.lines()).position(|(a, b)| a != b);
    let line = differing.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    assert!(
        found == expected,
        "{path}:{}: found {:?}, expected {:?}; `make types` rewrites it",
        line + 1,
        found.lines().nth(line),
        expected.lines().nth(line)
    );
}

fn names<T>(all: impl IntoIterator<Item = T>, name: impl Fn(T) -> String) -> Vec<String> {
    all.into_iter().map(name).collect()
}

/// Types whose values are names.
fn unions() -> Vec<Declaration> {
    let codes = names(error::Code::ALL, |code| code.as_str().to_owned());
    let code_docs =
        "Stable name of a kind of error; docs/troubleshooting.md explains each.".to_owned();
    vec![
        named_union("ErrorCode", code_docs, &codes),
        union::<engine::DeviceChoice>(&values::<engine::DeviceChoice>()),
        union::<weights::quantize::Target>(&values::<weights::quantize::Target>()),
        union::<kernels::CacheFormat>(&values::<kernels::CacheFormat>()),
        union::<kernels::MatvecStrategy>(&names(kernels::MatvecStrategy::ALL, |it| it.name())),
        union::<kernels::MatmulTiling>(&values::<kernels::MatmulTiling>()),
        union::<cpu::CpuVariant>(&values::<cpu::CpuVariant>()),
        union::<engine::Thinking>(&values::<engine::Thinking>()),
        named_union(
            "FinishReason",
            "Reason why an answer ended.".to_owned(),
            &names(["stop", "length", "tool_calls"], str::to_owned),
        ),
    ]
}

/// The engine options of the package: those of `LoadOptions`, and the number of threads.
fn options() -> Declaration {
    let options = interface::<engine::LoadOptions>(str::to_owned);
    let mut options = options.without(&INTERNAL_OPTIONS);
    options.fields.push(Field {
        name: "threads".to_owned(),
        optional: true,
        typescript: "number".to_owned(),
        docs: format!(
            "Number of threads on the CPU. 1 to {}, default by the number of processors, at most \
             8; always 1 without cross-origin isolation.",
            engine::MAX_THREADS
        ),
    });
    options.all_optional()
}

/// Request fields that the package passes to the engine unchanged.
fn request() -> Declaration {
    let fields = request_fields().into_iter().map(|field| Field {
        name: field.name.to_owned(),
        optional: true,
        typescript: format!("{} | null", field.typescript),
        docs: field.documentation,
    });
    Declaration {
        name: "SamplingRequest".to_owned(),
        docs: "Fields of a chat request that the engine reads and checks.".to_owned(),
        extends: Vec::new(),
        fields: fields.collect(),
        alias: None,
    }
}

/// Reports, whose keys are in camel case in JavaScript.
fn reports() -> Vec<Declaration> {
    vec![
        interface::<gpu::AdapterHints>(camel_case).all_optional(),
        interface::<gpu::AdapterReport>(camel_case),
        interface::<engine::GpuCapabilities>(camel_case),
        interface::<engine::Progress>(camel_case),
        interface::<engine::StrategyTime>(camel_case),
        interface::<engine::PromptPrediction>(camel_case),
        interface::<engine::Prediction>(camel_case),
        interface::<engine::Device>(camel_case),
        interface::<engine::Memory>(camel_case),
        interface::<engine::StepCost>(camel_case),
        interface::<engine::Info>(camel_case),
        interface::<engine::TensorReport>(camel_case),
        interface::<engine::PlannedStep>(camel_case),
        interface::<engine::Estimate>(camel_case),
        interface::<engine::KernelProfile>(camel_case),
        interface::<engine::StepProfile>(camel_case),
        interface::<engine::Profile>(camel_case),
        interface::<engine::SessionReport>(camel_case),
    ]
}

/// Parts of OpenAI's objects, with additions, whose keys are in snake case.
fn openai_parts() -> Vec<Declaration> {
    vec![
        interface::<text::FunctionCall>(str::to_owned),
        interface::<text::ToolCall>(str::to_owned),
        interface::<text::TokenLogprob>(str::to_owned),
        interface::<text::GeneratedLogprob>(str::to_owned),
        interface::<text::Delta>(str::to_owned),
        interface::<engine::PromptTokensDetails>(str::to_owned),
        interface::<engine::Usage>(str::to_owned),
        interface::<engine::EmbeddingUsage>(str::to_owned),
        interface::<engine::Timings>(str::to_owned),
        interface::<engine::Completion>(str::to_owned),
    ]
}

/// Constants of the package: error codes, option values, names of request fields, limits.
fn constants(unions: &[Declaration], options: &Declaration) -> String {
    let values_of = |name: &str| -> Option<Vec<String>> {
        let alias = unions.iter().find(|union| union.name == name)?.alias.as_deref()?;
        Some(alias.split(" | ").map(|value| value.trim_matches('"').to_owned()).collect())
    };
    let mut text = "/** Every {@link ErrorCode}. */\n".to_owned();
    let codes = values_of("ErrorCode").unwrap();
    text += &list_text(
        "export const errorCodes = ",
        &codes,
        " as const satisfies readonly ErrorCode[];",
    );
    text += "\n/** The values of each engine option that is a name. */\n";
    text += "export const optionValues = {\n";
    for field in &options.fields {
        if let Some(values) = values_of(&field.typescript) {
            text += &list_text(&format!("  {}: ", field.name), &values, ",");
        }
    }
    text += "} as const satisfies ";
    text += "{ [Name in keyof EngineOptions]?: readonly EngineOptions[Name][] };\n";
    text += "\n/** The names of the fields of {@link SamplingRequest}. */\n";
    let fields = names(request_fields(), |field| field.name.to_owned());
    let tail = " as const satisfies readonly (keyof SamplingRequest)[];";
    text += &list_text("export const requestFields = ", &fields, tail);
    text += "\n/** Most threads that the CPU can be given. */\n";
    text += &format!("export const maxThreads = {};\n", engine::MAX_THREADS);
    text += "\n/** Most snapshots of a model's state. */\n";
    text += &format!("export const maxSnapshots = {};\n", engine::MAX_SNAPSHOTS);
    text
}

/// The text of a generated file.
fn file(content: &str, parts: &[String]) -> String {
    let header = format!(
        "{content} of the engine, generated from the Rust types. Do not edit: `make types` \
         rewrites this file, and `tests/typescript` compares it."
    );
    let header = comment("", &header);
    let parts: Vec<_> = std::iter::once(&header).chain(parts).map(String::as_str).collect();
    parts.join("\n")
}

/// The import from `path` of the types in `declared` that `used` names.
fn import(used: &[Declaration], declared: &[Declaration], path: &str) -> String {
    let uses = |name: &str| {
        let mut fields = used.iter().flat_map(|declaration| &declaration.fields);
        fields.any(|field| {
            let mut words = field.typescript.split(|letter: char| !letter.is_alphanumeric());
            words.any(|word| word == name)
        })
    };
    let names = declared.iter().map(|declaration| declaration.name.as_str());
    let names: Vec<_> = names.filter(|name| uses(name)).collect();
    let line = format!("import type {{ {} }} from \"{path}\";\n", names.join(", "));
    if line.len() <= declaration::COLUMNS + 1 {
        return line;
    }
    format!("import type {{\n  {},\n}} from \"{path}\";\n", names.join(",\n  "))
}

/// The generated files: path, declarations and text.
fn generated() -> [(&'static str, Vec<Declaration>, String); 2] {
    let (unions, options) = (unions(), options());
    let mut declared = unions.clone();
    declared.extend([options.clone(), request()]);
    let mut parts: Vec<_> = declared.iter().map(Declaration::to_typescript).collect();
    parts.push(constants(&unions, &options));
    let options = file("Options, names and error codes", &parts);

    let mut reported = reports();
    reported.extend(openai_parts());
    let mut parts = vec![import(&reported, &declared, "./options.js")];
    parts.extend(reported.iter().map(Declaration::to_typescript));
    let reports = file("Reports", &parts);
    [
        ("pkg/src/generated/options.ts", declared, options),
        ("pkg/src/generated/reports.ts", reported, reports),
    ]
}

#[test]
fn generated_files_equal_the_rust_types() {
    for (path, declarations, text) in generated() {
        compare(path, &text);
        assert_eq!(declaration::parse(&text), declarations, "{path}: parsed declarations");
    }
}

#[test]
fn documented_message_limit_equals_the_engine() {
    let types = read("pkg/src/openai_types.ts");
    assert!(types.contains(&format!("1 to {} messages", engine::MAX_MESSAGES)));
}
