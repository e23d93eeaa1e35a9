//! Every shader without a GPU: valid WGSL with every weight format, in agreement with the Rust side
//! of its kernel, within the limits of every WebGPU adapter, and none unused.
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

use plan::{CHUNK, COLUMNS, CONTEXT, plan};

/// Limits that the WebGPU specification guarantees.
const STORAGE_BUFFERS: usize = 8;
const WORKGROUP_BYTES: u32 = 16 * 1024;
const INVOCATIONS: u32 = 256;
const WORKGROUPS: u32 = 65_535;

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
    "tilings",
];

/// Name, kernel and capacity of every pipeline that a device would compile.
fn pipelines() -> Vec<(String, Kernel, u32)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for format in Format::ALL {
        let all = u64::MAX;
        for (capacity, max_binding_bytes, fused) in [
            (1, all, false),
            (1, all, true),
            (CHUNK, all, false),
            (CHUNK, all, true),
            (1, 16 << 20, false),
        ] {
            let plan = plan(format, capacity, max_binding_bytes, fused);
            for kernel in varied(&plan) {
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

/// The kernels of a plan, products by every strategy and tiling.
fn varied(plan: &Plan) -> Vec<Kernel> {
    let (mut by_strategies, mut by_tilings) =
        (MatvecStrategy::ALL.map(|_| plan.clone()), MatmulTiling::ALL.map(|_| plan.clone()));
    by_strategies
        .iter_mut()
        .zip(MatvecStrategy::ALL)
        .for_each(|(plan, strategy)| plan.use_strategy(strategy));
    by_tilings.iter_mut().zip(MatmulTiling::ALL).for_each(|(plan, tiling)| plan.use_tiling(tiling));
    let kernels = by_strategies.into_iter().chain(by_tilings).flat_map(|plan| plan.kernels);
    kernels.map(|planned| planned.kernel).collect()
}

fn parse(name: &str, text: &str, optional: Capabilities) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    // Capabilities of every adapter: `unpack2x16float` among them.
    let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32 | optional;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    (module, info)
}

/// The shader of a kernel, parsed and valid.
fn module(name: &str, kernel: &Kernel) -> (Module, ModuleInfo) {
    let format = kernel.matrix().map(|matrix| matrix.format);
    let uses =
        |feature| kernel.imports().iter().any(|(_, file)| shader_feature(file) == Some(feature));
    let mut optional = Capabilities::empty();
    optional.set(Capabilities::SUBGROUP, uses("subgroups"));
    optional.set(Capabilities::SHADER_FLOAT16, uses("shader-f16"));
    parse(name, &assemble(kernel.shader(), &kernel.imports(), format).unwrap(), optional)
}

/// The shader with the kernel's constants, validated again.
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

/// Bindings of the storage buffers of a group, and true for those that can be written; checks that
/// the only other binding is the `Step`.
fn storage(name: &str, module: &Module, group: u32) -> BTreeMap<u32, bool> {
    let mut found = BTreeMap::new();
    for (_, variable) in module.global_variables.iter() {
        let Some(place) = variable.binding.filter(|place| place.group == group) else { continue };
        let what = format!("{name}: group {group}, binding {}", place.binding);
        match variable.space {
            AddressSpace::Storage { access } => {
                assert!(access.contains(StorageAccess::LOAD), "{what} is not readable");
                let write = access.contains(StorageAccess::STORE);
                assert!(found.insert(place.binding, write).is_none(), "{what} is declared twice");
            }
            AddressSpace::Uniform => {
                assert_eq!(
                    (group, place.binding),
                    (0, 0),
                    "{what} is a uniform, only the step may be"
                );
                let size = module.types[variable.ty].inner.size(module.to_ctx());
                assert_eq!(size as usize, size_of::<Step>(), "{what}: size of the step");
            }
            space => panic!("{what} is in {space:?}"),
        }
    }
    found
}

#[test]
fn every_kernel_is_tried() {
    let tried: BTreeSet<_> = pipelines().iter().map(|(_, kernel, _)| kernel.name()).collect();
    let all: BTreeSet<_> = Kernel::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(tried, all, "add new kernels to the plan at the top of this file");
}

#[test]
fn shaders_are_valid_with_every_format() {
    for (name, kernel, _) in pipelines() {
        let (module, info) = module(&name, &kernel);
        with_constants(&name, &kernel, &module, &info);
    }
}

#[test]
fn overrides_are_the_constants_of_the_kernel() {
    for (name, kernel, _) in pipelines() {
        let (module, _) = module(&name, &kernel);
        let mut types = HashMap::new();
        for (_, constant) in module.overrides.iter() {
            let label = constant.name.clone().unwrap();
            assert!(constant.id.is_none(), "{name}: {label} has a number, expected its name only");
            assert!(
                constant.init.is_none(),
                "{name}: {label} has a default, expected a value from Rust"
            );
            let TypeInner::Scalar(scalar) = module.types[constant.ty].inner else { unreachable!() };
            types.insert(label, scalar.kind);
        }
        let declared: BTreeSet<_> = types.keys().map(String::as_str).collect();
        let given: Vec<_> = kernel.constants();
        let names: BTreeSet<_> = given.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), given.len(), "{name}: a constant is given twice");
        assert_eq!(declared, names, "{name}: overrides of the shader, and constants of the kernel");
        for (label, value) in given {
            let whole = value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value);
            assert!(
                types[label] != ScalarKind::Uint || whole,
                "{name}: {label} is a u32, found {value}"
            );
        }
    }
}

#[test]
fn bindings_are_those_of_the_kernel() {
    for (name, kernel, _) in pipelines() {
        let (module, _) = module(&name, &kernel);
        let expected = kernel.bindings();
        let expected =
            expected.iter().enumerate().map(|(i, binding)| (i as u32 + 1, binding.write)).collect();
        let activations = storage(&name, &module, 0);
        assert_eq!(
            activations, expected,
            "{name}: bindings of group 0 and whether they are written"
        );
        let planes = storage(&name, &module, 1);
        let count = kernel.matrix().map_or(0, |matrix| planes_of(matrix.format));
        let expected = (0..count as u32).map(|plane| (plane, false)).collect();
        assert_eq!(planes, expected, "{name}: planes in group 1 and whether they are written");
        let groups = module.global_variables.iter().filter_map(|(_, variable)| variable.binding);
        assert!(
            groups.into_iter().all(|place| place.group < 2),
            "{name}: a binding outside groups 0 and 1"
        );
        let total = activations.len() + planes.len();
        assert!(
            total <= STORAGE_BUFFERS,
            "{name}: {total} storage buffers, at most {STORAGE_BUFFERS}"
        );
    }
}

fn planes_of(format: Format) -> usize {
    format.rules().plane_row_bytes(COLUMNS as usize).len()
}

/// Planes are arrays of words or of vectors of four, of which a row has a whole number.
#[test]
fn planes_are_whole_elements() {
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
            assert!(
                kind == Some(ScalarKind::Uint) && [4, 16].contains(&stride),
                "{format:?}: {stride}"
            );
            let label = variable.name.as_deref().unwrap_or_default();
            assert!(
                label.starts_with("plane_"),
                "{format:?}: a plane is called {label:?}, not plane_…"
            );
            let block = format.rules().block_weights() as u32;
            for columns in
                [1, 33, 512, 576, 768, 4096].map(|columns: u32| columns.next_multiple_of(block))
            {
                let bytes =
                    format.rules().plane_row_bytes(columns as usize)[place.binding as usize];
                assert_eq!(bytes % stride as usize, 0, "{format:?}: {label} of {columns} columns");
            }
        }
    }
}

#[test]
fn entry_points_stay_within_the_guaranteed_limits() {
    for (name, kernel, capacity) in pipelines() {
        let (module, info) = module(&name, &kernel);
        let (module, _) = with_constants(&name, &kernel, &module, &info);
        let [entry] = module.entry_points.as_slice() else {
            panic!("{name}: expected one entry point")
        };
        assert_eq!(entry.name, "main", "{name}: entry point");
        let invocations: u32 = entry.workgroup_size.iter().product();
        assert!(
            invocations <= INVOCATIONS,
            "{name}: {invocations} invocations, at most {INVOCATIONS}"
        );
        let mut layouter = Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared =
            module.global_variables.iter().filter(|(_, it)| it.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, variable)| layouter[variable.ty].size).sum();
        assert!(
            bytes <= WORKGROUP_BYTES,
            "{name}: {bytes} bytes in a workgroup, at most {WORKGROUP_BYTES}"
        );
        let workgroups = kernel.workgroups(Step { position: CONTEXT - capacity, rows: capacity });
        let fits = workgroups.iter().all(|count| *count <= WORKGROUPS);
        assert!(fits, "{name}: {workgroups:?} workgroups, at most {WORKGROUPS} on each axis");
    }
}

fn shaders(folder: &str) -> BTreeMap<String, String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("shaders").join(folder);
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let shaders =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "wgsl"));
    shaders.map(|path| (stem(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn imports(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("#import ")).map(str::trim)
}

#[test]
fn every_file_is_reachable() {
    let kernels: BTreeMap<_, _> =
        Kernel::ALL.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    assert_eq!(shaders("."), kernels, "files of shaders/, and the kernels' texts");
    let formats =
        Format::ALL.map(|format| (format.stem().to_owned(), format.rules().shader().to_owned()));
    assert_eq!(
        shaders("formats"),
        BTreeMap::from(formats),
        "files of shaders/formats/, and the formats' texts"
    );
    let mut pieces = BTreeMap::new();
    for folder in PIECES {
        pieces.extend(
            shaders(folder).into_iter().map(|(name, text)| (format!("{folder}/{name}"), text)),
        );
    }
    assert!(pieces.keys().eq(SHADER_PIECES), "pieces in order: {:?}", pieces.keys());
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
        // A slot with the name of a file is filled by that file by default.
        if !pieces.contains_key(slot) {
            imported.remove(slot);
        }
    }
    imported.extend(fills);
    let named: BTreeSet<_> = pieces.keys().map(String::as_str).collect();
    assert_eq!(named, imported, "files that are no kernels, and what is imported");
}

#[test]
fn files_say_what_they_do() {
    for (name, text) in shaders(".") {
        let opening = opening(&text).to_lowercase();
        for word in ["workgroup", "invocation"] {
            assert!(
                opening.contains(word),
                "{name}.wgsl opens without saying what one {word} computes"
            );
        }
        let equation = opening.contains(['=', '←']);
        assert!(equation, "{name}.wgsl opens without its equation");
        for function in ["dot32", "weights32"] {
            let calls = text.contains(&format!("{function}("));
            let says = opening.contains(&format!("imports from the weight format: {function}"));
            assert_eq!(calls, says, "{name}.wgsl: calls {function}, and says so at its top");
        }
        for line in text.lines().filter(|line| line.contains("var<storage")) {
            assert!(line.contains("; // ["), "{name}.wgsl: no shape after {line:?}");
        }
    }
    for folder in ["formats"].iter().chain(PIECES) {
        for (name, text) in shaders(folder) {
            assert!(
                !opening(&text).is_empty(),
                "{folder}/{name}.wgsl does not open with a comment"
            );
            assert!(!text.contains("@compute"), "{folder}/{name}.wgsl has an entry point");
        }
    }
}

/// The comment at the beginning of a file.
fn opening(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//")).collect::<Vec<_>>().join(" ")
}

/// Native and web need different headers, which are added at assembly.
#[test]
fn files_have_no_directives_but_imports() {
    for folder in [".", "formats"].iter().chain(PIECES) {
        for (name, text) in shaders(folder) {
            for line in text.lines().map(str::trim) {
                let directive = ["enable ", "requires ", "diagnostic("]
                    .iter()
                    .any(|word| line.starts_with(word));
                let other = line.starts_with('#') && !line.starts_with("#import ");
                assert!(!directive && !other, "{folder}/{name}.wgsl: {line:?}");
            }
        }
    }
}

#[test]
fn an_unknown_import_is_an_error() {
    assert!(assemble("#import lib/step\n#import lib/nothing\n", &[], None).is_err());
    assert!(assemble("#import slot\n", &[("slot", "lib/nothing")], None).is_err());
    let filled = assemble("#import slot\n", &[("slot", "lib/step")], None).unwrap();
    assert_eq!(filled.matches("var<uniform>").count(), 1);
    let twice = assemble("#import lib/step\n#import lib/step\n", &[], None).unwrap();
    assert_eq!(twice.matches("var<uniform>").count(), 1);
}
