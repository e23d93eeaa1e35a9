//! Shaders, checked without a GPU: valid WGSL with every weight format, bindings and overrides of
//! the kernels in Rust, limits of every WebGPU adapter, and no unused file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "shaders/plan.rs"]
mod plan;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use naga::proc::Layouter;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};
use tablm::formats::Format;
use tablm::gpu::shader::assemble;
use tablm::kernels::{
    Kernel, MatmulTiling, MatvecStrategy, SHADER_PIECES, Step, shader_feature, shader_piece,
};
use tablm::plan::Plan;

use plan::{CHUNK, CONTEXT, plan};

/// Default limits of WebGPU, which every adapter supports.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 * 1024;
const MAX_INVOCATIONS: u32 = 256;
const MAX_WORKGROUPS: u32 = 65_535;

/// Folders of importable files.
const PIECES: &[&str] = &[
    "arithmetic",
    "biases",
    "caches",
    "epilogues",
    "functions",
    "head_norms",
    "lib",
    "loads",
    "partial_norms",
    "prologues",
    "reductions",
    "residuals",
    "sinks",
    "tilings",
];

/// Name, kernel and capacity of every pipeline that a device would compile.
fn pipelines() -> Vec<(String, Kernel, u32)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for format in Format::ALL {
        for (capacity, max_binding_bytes, fused) in [
            (1, u64::MAX, false),
            (1, u64::MAX, true),
            (CHUNK, u64::MAX, false),
            (CHUNK, u64::MAX, true),
            (1, 16 << 20, false),
        ] {
            let plan = plan(format, capacity, max_binding_bytes, fused);
            for kernel in all_variants(&plan) {
                let format =
                    kernel.matrix().map_or(String::new(), |matrix| matrix.format.name().to_owned());
                let name = format!(
                    "{} {:?} {format} {:?}",
                    kernel.name(),
                    kernel.imports(),
                    kernel.constants()
                );
                if seen.insert(name.clone()) {
                    found.push((name, kernel, capacity));
                }
            }
        }
    }
    found
}

/// The kernels of a plan with every strategy and every tiling.
fn all_variants(plan: &Plan) -> Vec<Kernel> {
    let with_strategies = MatvecStrategy::ALL.map(|strategy| {
        let mut plan = plan.clone();
        plan.use_strategy(strategy);
        plan
    });
    let with_tilings = MatmulTiling::ALL.map(|tiling| {
        let mut plan = plan.clone();
        plan.use_tiling(tiling);
        plan
    });
    let kernels = with_strategies.into_iter().chain(with_tilings).flat_map(|plan| plan.kernels);
    kernels.map(|planned| planned.kernel).collect()
}

fn parse(name: &str, text: &str, optional: Capabilities) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    // Every adapter has `unpack2x16float`.
    let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32 | optional;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    (module, info)
}

/// Parses and validates the shader of a kernel.
fn module(name: &str, kernel: &Kernel) -> (Module, ModuleInfo) {
    let format = kernel.matrix().map(|matrix| matrix.format);
    let uses =
        |feature| kernel.imports().iter().any(|(_, file)| shader_feature(file) == Some(feature));
    let mut optional = Capabilities::empty();
    optional.set(Capabilities::SUBGROUP, uses("subgroups"));
    optional.set(Capabilities::SHADER_FLOAT16, uses("shader-f16"));
    parse(name, &assemble(kernel.shader(), &kernel.imports(), format).unwrap(), optional)
}

/// Sets the overrides of a shader to the kernel's constants and validates it again.
fn with_constants<'a>(
    name: &str,
    kernel: &Kernel,
    module: &'a Module,
    info: &'a ModuleInfo,
) -> (Cow<'a, Module>, Cow<'a, ModuleInfo>) {
    let constants = kernel.constants().into_iter();
    let constants = constants.map(|(name, value)| (name.to_owned(), value)).collect();
    naga::back::pipeline_constants::process_overrides(module, info, None, &constants)
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Bindings of the storage buffers of a group; true for writable ones. Checks that the only other
/// binding is the uniform `Step`.
fn storage_buffers(name: &str, module: &Module, group: u32) -> BTreeMap<u32, bool> {
    let mut found = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(place) = variable.binding.filter(|place| place.group == group) else { continue };
        let what = format!("{name}: group {group}, binding {}", place.binding);
        match variable.space {
            AddressSpace::Storage { access } => {
                assert!(access.contains(StorageAccess::LOAD), "{what} is not readable");
                let is_writable = access.contains(StorageAccess::STORE);
                let previous = found.insert(place.binding, is_writable);
                assert!(previous.is_none(), "{what} is declared twice");
            }
            AddressSpace::Uniform => {
                assert_eq!((group, place.binding), (0, 0), "{what}: found a uniform");
                let size = module.types[variable.ty].inner.size(module.to_ctx());
                assert_eq!(size as usize, size_of::<Step>(), "{what}: size of the step");
            }
            space => panic!("{what} is in {space:?}"),
        }
    }
    found
}

#[test]
fn plan_contains_every_kernel() {
    let planned: BTreeSet<_> = pipelines().iter().map(|(_, kernel, _)| kernel.name()).collect();
    let all: BTreeSet<_> = Kernel::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(planned, all, "add new kernels to tests/shaders/plan.rs");
}

#[test]
fn shaders_are_valid_with_every_format() {
    for (name, kernel, _) in pipelines() {
        let (module, info) = module(&name, &kernel);
        with_constants(&name, &kernel, &module, &info);
    }
}

#[test]
fn overrides_equal_the_constants_of_the_kernel() {
    for (name, kernel, _) in pipelines() {
        let (module, _) = module(&name, &kernel);
        let mut types = HashMap::new();
        for (_, constant) in module.overrides.iter() {
            let label = constant.name.clone().unwrap();
            assert!(constant.id.is_none(), "{name}: {label}: found an id, expected none");
            assert!(constant.init.is_none(), "{name}: {label}: found a default, expected none");
            let TypeInner::Scalar(scalar) = module.types[constant.ty].inner else { unreachable!() };
            types.insert(label, scalar.kind);
        }
        let declared: BTreeSet<_> = types.keys().map(String::as_str).collect();
        let given: Vec<_> = kernel.constants();
        let names: BTreeSet<_> = given.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), given.len(), "{name}: a constant is given twice");
        assert_eq!(declared, names, "{name}: overrides of the shader, and constants of the kernel");
        for (label, value) in given {
            let is_u32 = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
            assert!(
                types[label] != ScalarKind::Uint || is_u32,
                "{name}: {label}: found {value}, expected a u32"
            );
        }
    }
}

#[test]
fn bindings_equal_those_of_the_kernel() {
    for (name, kernel, _) in pipelines() {
        let (module, _) = module(&name, &kernel);
        let expected: BTreeMap<u32, bool> =
            (1..).zip(kernel.bindings().iter().map(|binding| binding.write)).collect();
        let buffers = storage_buffers(&name, &module, 0);
        assert_eq!(buffers, expected, "{name}: bindings of group 0, true if writable");
        let plane_count = kernel.matrix().map_or(0, |matrix| matrix.format.rules().plane_count());
        let expected = (0..plane_count as u32).map(|plane| (plane, false)).collect();
        let planes = storage_buffers(&name, &module, 1);
        assert_eq!(planes, expected, "{name}: planes in group 1, true if writable");
        let mut variables = module.global_variables.iter();
        let is_in_groups = variables.all(|(_, it)| it.binding.is_none_or(|place| place.group < 2));
        assert!(is_in_groups, "{name}: found a binding outside groups 0 and 1");
        let total = buffers.len() + planes.len();
        assert!(total <= MAX_STORAGE_BUFFERS, "{name}: {total} storage buffers");
    }
}

/// Planes are arrays of words or of vectors of four words. A row must have whole elements.
#[test]
fn plane_rows_are_whole_array_elements() {
    for format in Format::ALL {
        let (_, text) = Kernel::ALL.iter().find(|(name, _)| *name == "matmul").unwrap();
        let slots = [
            ("bias", "biases/none"),
            ("function", "functions/none"),
            ("epilogue", "epilogues/rows"),
            ("residual", "residuals/none"),
            ("partial_norm", "partial_norms/none"),
            ("tiling", "tilings/workgroup_memory"),
        ];
        let text = assemble(text, &slots, Some(format)).unwrap();
        let (module, _) = parse(format.name(), &text, Capabilities::empty());
        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        for (_, variable) in module.global_variables.iter() {
            let Some(place) = variable.binding.filter(|place| place.group == 1) else { continue };
            let TypeInner::Array { base, stride, .. } = module.types[variable.ty].inner else {
                panic!("{format:?}: plane {} is not an array", place.binding);
            };
            let kind = module.types[base].inner.scalar_kind();
            assert_eq!(kind, Some(ScalarKind::Uint), "{format:?}");
            assert!([4, 16].contains(&stride), "{format:?}: {stride}");
            let label = variable.name.as_deref().unwrap_or_default();
            assert!(label.starts_with("plane_"), "{format:?}: found {label}, expected plane_…");
            let rules = format.rules();
            for columns in [1_usize, 33, 512, 576, 768, 4096] {
                let columns = columns.next_multiple_of(rules.block_weights());
                let bytes = rules.plane_row_bytes(columns)[place.binding as usize];
                assert_eq!(bytes % stride as usize, 0, "{format:?}: {label} of {columns} columns");
            }
        }
    }
}

#[test]
fn entry_points_are_within_the_limits_of_webgpu() {
    for (name, kernel, capacity) in pipelines() {
        let (module, info) = module(&name, &kernel);
        let (module, _) = with_constants(&name, &kernel, &module, &info);
        let [entry] = module.entry_points.as_slice() else {
            panic!("{name}: expected one entry point")
        };
        assert_eq!(entry.name, "main", "{name}: entry point");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!(invocations <= MAX_INVOCATIONS, "{name}: {invocations} invocations");
        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared =
            module.global_variables.iter().filter(|(_, it)| it.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, variable)| layouter[variable.ty].size).sum();
        assert!(bytes <= MAX_WORKGROUP_BYTES, "{name}: {bytes} bytes of workgroup memory");
        let workgroups = kernel.workgroups(Step { position: CONTEXT - capacity, rows: capacity });
        let fits = workgroups.iter().all(|count| *count <= MAX_WORKGROUPS);
        assert!(fits, "{name}: {workgroups:?} workgroups");
    }
}

/// Names and texts of the shaders in a subfolder of shaders/.
fn shaders(folder: &str) -> BTreeMap<String, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("shaders").join(folder);
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let shaders =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    shaders.map(|path| (stem(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The files of a folder, without comments.
fn embedded(folder: &str) -> impl Iterator<Item = (String, String)> {
    shaders(folder).into_iter().map(|(name, text)| (name, code(&text)))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn imports(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("#import ")).map(str::trim)
}

#[test]
fn every_shader_file_is_used() {
    let kernels: BTreeMap<_, _> =
        Kernel::ALL.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    assert_eq!(
        BTreeMap::from_iter(embedded(".")),
        kernels,
        "files of shaders/, and the kernels' texts"
    );
    let formats =
        Format::ALL.map(|format| (format.stem().to_owned(), format.rules().shader().to_owned()));
    assert_eq!(
        BTreeMap::from_iter(embedded("formats")),
        BTreeMap::from(formats),
        "files of shaders/formats/, and the formats' texts"
    );
    let mut pieces = BTreeMap::new();
    for folder in PIECES {
        pieces.extend(embedded(folder).map(|(name, text)| (format!("{folder}/{name}"), text)));
    }
    assert!(pieces.keys().eq(SHADER_PIECES), "expected SHADER_PIECES: {:?}", pieces.keys());
    for (name, text) in &pieces {
        assert_eq!(shader_piece(name), Some(text.as_str()), "{name}");
    }
    let (mut slots, mut fills) = (BTreeSet::new(), BTreeSet::new());
    for (_, kernel, _) in pipelines() {
        slots.extend(kernel.imports().into_iter().map(|(slot, _)| slot));
        fills.extend(kernel.imports().into_iter().map(|(_, file)| file));
    }
    let formats = Format::ALL.map(|format| format.rules().shader().to_owned());
    let texts = kernels.values().chain(pieces.values()).chain(&formats);
    let mut imported: BTreeSet<_> = texts.flat_map(|text| imports(text)).collect();
    for slot in slots {
        assert!(imported.contains(slot), "no shader has a slot called {slot}");
        // A slot that has the name of a file imports this file by default.
        if !pieces.contains_key(slot) {
            imported.remove(slot);
        }
    }
    imported.extend(fills);
    let named: BTreeSet<_> = pieces.keys().map(String::as_str).collect();
    assert_eq!(named, imported, "importable files, and imported files");
}

#[test]
fn shader_headers_have_their_required_parts() {
    for (name, text) in shaders(".") {
        let opening = opening(&text).to_lowercase();
        for word in ["workgroup", "invocation"] {
            assert!(opening.contains(word), "{name}.wgsl: the header does not mention {word}");
        }
        assert!(opening.contains(['=', '←']), "{name}.wgsl: the header has no equation");
        for function in ["dot32", "weights32"] {
            let calls = text.contains(&format!("{function}("));
            let says = opening.contains(&format!("imports from the weight format: {function}"));
            assert_eq!(calls, says, "{name}.wgsl: calls {function}, and its header says so");
        }
        for line in text.lines().filter(|line| line.contains("var<storage")) {
            assert!(line.contains("; // ["), "{name}.wgsl: no shape after {line:?}");
        }
    }
    for folder in ["formats"].iter().chain(PIECES) {
        for (name, text) in shaders(folder) {
            assert!(!opening(&text).is_empty(), "{folder}/{name}.wgsl has no header");
            assert!(!text.contains("@compute"), "{folder}/{name}.wgsl has an entry point");
        }
    }
}

/// The text of a file without comments, as the binary has it.
fn code(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    let without = |line: &str| match line.split_once("//") {
        Some((code, comment)) => {
            format!("{code}{}", if comment.ends_with('\n') { "\n" } else { "" })
        }
        None => line.to_owned(),
    };
    lines.map(without).collect()
}

/// The header of a file: its first lines of comment, joined.
fn opening(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//")).collect::<Vec<_>>().join(" ")
}

/// Native and web builds need different directives, which assembly adds.
#[test]
fn shader_files_have_no_directives_but_imports() {
    for folder in [".", "formats"].iter().chain(PIECES) {
        for (name, text) in shaders(folder) {
            for line in text.lines().map(str::trim) {
                let directives = ["enable ", "requires ", "diagnostic("];
                let is_directive = directives.iter().any(|word| line.starts_with(word));
                let is_unknown = line.starts_with('#') && !line.starts_with("#import ");
                assert!(!is_directive && !is_unknown, "{folder}/{name}.wgsl: {line:?}");
            }
        }
    }
}

#[test]
fn unknown_imports_are_errors_and_repeated_imports_are_inserted_once() {
    assert!(assemble("#import lib/step\n#import lib/nothing\n", &[], None).is_err());
    assert!(assemble("#import slot\n", &[("slot", "lib/nothing")], None).is_err());
    let filled = assemble("#import slot\n", &[("slot", "lib/step")], None).unwrap();
    assert_eq!(filled.matches("var<uniform>").count(), 1);
    let repeated = assemble("#import lib/step\n#import lib/step\n", &[], None).unwrap();
    assert_eq!(repeated.matches("var<uniform>").count(), 1);
}
