//! The catalog of models: every entry's architecture loads, its memory is what the planner computes
//! from the published sizes, its download is no smaller than its weights, and documents repeat it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::cache::full_size;
use serde::Deserialize;
use tablm::engine::{Estimate, LoadOptions, estimate};
use tablm::weights::disk::open_path;

/// Headers that `tests/data/make_full_size.py` makes from published sizes, by the catalog's names.
const HEADERS: [(&str, &str); 14] = [
    ("Nemotron 3 Nano 4B", "nemotron4b"),
    ("Qwen3 1.7B", "qwen3_1.7b_Q8_0"),
    ("Qwen3 4B", "qwen3_4b"),
    ("LFM3 1.7B", "lfm3_1.7b"),
    ("Granite 4 350M", "granite4_350m_Q8_0"),
    ("Granite 4 1B", "granite4_1b"),
    ("Granite 4 H Micro", "granite4_h_micro"),
    ("SmolLM3 3B", "smollm3_3b"),
    ("Phi-4-mini", "phi4_mini"),
    ("Llama 3.2 1B", "llama3.2_1b"),
    ("MiniCPM5 1B", "minicpm5_1b"),
    ("SmolLM2 360M", "smollm2_360m_Q8_0"),
    ("Gemma 3 270M", "gemma3_270m_Q8_0"),
    ("Llama 3.1 Nemotron Nano 4B", "minitron_width"),
];
/// Most bytes of a file beside its tensors: the vocabulary and other metadata.
const MAX_METADATA_BYTES: u64 = 9_000_000;
const CONTEXT_LENGTH: u32 = 4096;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    name: String,
    source: String,
    format: String,
    good_for: String,
    download_bytes: u64,
    is_computed: bool,
    memory_bytes: u64,
    license: License,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct License {
    name: String,
    url: String,
}

fn read(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn catalog() -> Vec<Entry> {
    serde_json::from_str(&read("pkg/src/catalog.json")).unwrap()
}

fn estimate_of(header: &str) -> Estimate {
    let options = LoadOptions { context_length: Some(CONTEXT_LENGTH), ..LoadOptions::default() };
    let files = open_path(&full_size(&format!("{header}.header.gguf"))).unwrap();
    pollster::block_on(estimate(files, &options, None)).unwrap()
}

#[test]
fn memory_and_download_follow_from_published_sizes() {
    let entries = catalog();
    let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, HEADERS.map(|(name, _)| name), "pkg/src/catalog.json");
    for (entry, (name, header)) in entries.iter().zip(HEADERS) {
        let found = estimate_of(header);
        let tensor_bytes: u64 = found.tensors.iter().map(|tensor| tensor.size_bytes).sum();
        assert_eq!(entry.memory_bytes, found.memory.peak_gpu_bytes, "{name}: memoryBytes");
        let metadata_bytes = entry.download_bytes.checked_sub(tensor_bytes);
        let metadata_bytes = metadata_bytes.unwrap_or_else(|| panic!("{name}: {tensor_bytes}"));
        match entry.is_computed {
            true => assert_eq!(metadata_bytes, 0, "{name}: downloadBytes"),
            false => {
                let expected = 1..=MAX_METADATA_BYTES;
                assert!(expected.contains(&metadata_bytes), "{name}: {metadata_bytes} bytes");
            }
        }
    }
}

#[test]
fn entries_name_a_file_on_the_hub_and_a_license() {
    for Entry { name, source, format, license, .. } in catalog() {
        let path = source.strip_prefix("hf:").unwrap_or_else(|| panic!("{name}: {source}"));
        assert_eq!(path.split('/').count(), 3, "{name}: {source}");
        let file = path.to_lowercase();
        assert!(file.ends_with(&format!("-{}.gguf", format.to_lowercase())), "{name}: {source}");
        assert!(license.url.starts_with("https://") && !license.name.is_empty(), "{name}");
    }
}

/// Bytes as documents show them.
fn decimal(bytes: u64) -> String {
    match bytes {
        ..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Cells of the rows of the table whose header begins with `header`, without the first row: the
/// model that comes with the page is not on the hub.
fn rows(path: &str, header: &str) -> Vec<Vec<String>> {
    let text = read(path);
    let lines = text.lines().skip_while(|line| !line.starts_with(header)).skip(3);
    let lines = lines.take_while(|line| line.starts_with('|'));
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches(['|', ' ']).split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    lines.map(cells).collect()
}

#[test]
fn documents_repeat_the_catalog() {
    let row = |entry: &Entry| {
        let Entry { name, format, good_for, license, .. } = entry;
        let about = if entry.is_computed { "about " } else { "" };
        [
            format!("{name}, {format}"),
            format!("{about}{}", decimal(entry.download_bytes)),
            format!("{:.1} GB", entry.memory_bytes as f64 / 1e9),
            good_for.clone(),
            format!("[{}]({})", license.name, license.url),
        ]
        .to_vec()
    };
    let expected: Vec<_> = catalog().iter().map(row).collect();
    let lines: Vec<_> = expected.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
    let found = rows("docs/models.md", "| model | download | memory | good for | license |");
    assert!(found == expected, "docs/models.md: expected these rows:\n{}", lines.join("\n"));

    let shown = rows("README.md", "| model | download | memory | ");
    assert!(shown.len() >= 3, "README.md: found {} rows", shown.len());
    for cells in shown {
        let of_entry = expected.iter().find(|entry| entry[0] == cells[0]);
        let entry = of_entry.unwrap_or_else(|| panic!("README.md: {} is not listed", cells[0]));
        assert_eq!(cells[1..3], entry[1..3], "README.md: {}", cells[0]);
        assert_eq!(cells.last(), Some(&entry[3]), "README.md: {}", cells[0]);
    }
}
