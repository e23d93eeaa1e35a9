//! Every shader without a GPU: it is valid WGSL with every weight format, it agrees with its
//! kernel's Rust side, it stays within what every WebGPU adapter offers, and none is left over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use naga::proc::Layouter;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};
use tablm::formats::Format;
use tablm::gpu::shader::assemble;
use tablm::kernels::{
    Activation, AttentionShape, Buffer, CacheFormat, Function, Kernel, Pairing, RotaryTable, Rows,
    SHADER_PIECES, ScanBuffers, ScanShape, Step, Tile, Variant, shader_piece,
};
use tablm::plan::{Linear, Plan, PlanBuilder, Resources, Tail, TensorShapes, fuse, stack};

/// What the WebGPU specification guarantees.
const STORAGE_BUFFERS: usize = 8;
const WORKGROUP_BYTES: u32 = 16 * 1024;
const INVOCATIONS: u32 = 256;
const WORKGROUPS: u32 = 65_535;

/// Folders of what kernels import.
const PIECES: &[&str] = &[
    "biases",
    "caches",
    "epilogues",
    "f16",
    "lib",
    "products",
    "prologues",
    "subgroups",
    "tiles",
    "variants",
];

/// Weights of a row: whole blocks of every format.
const COLUMNS: u32 = 512;
/// As many as the largest vocabularies.
const VOCABULARY: u32 = 262_144;
/// Rows of the longest chunk of a prompt.
const CHUNK: u32 = 512;
/// Positions.
const CONTEXT: u32 = 4096;

/// A matrix in a format, square ones, and one vector.
struct Shapes {
    matrix: (Format, [usize; 2]),
    square: [usize; 2],
    output: [usize; 2],
    vector: [usize; 1],
}

impl TensorShapes for Shapes {
    fn tensor(&self, name: &str) -> Option<(Format, &[usize])> {
        match name {
            "matrix" => Some((self.matrix.0, &self.matrix.1)),
            "output" => Some((self.matrix.0, &self.output)),
            name if name.starts_with("square") => Some((self.matrix.0, &self.square)),
            "vector" => Some((Format::F32, &self.vector)),
            _ => None,
        }
    }
}

/// A plan that has every kernel which suits its capacity, over a matrix in that format.
fn plan(format: Format, capacity: u32, max_binding_bytes: u64, fused: bool) -> Plan {
    let columns = COLUMNS as usize;
    let matrix = (format, [VOCABULARY as usize, columns]);
    let shapes =
        Shapes { matrix, square: [columns; 2], output: [columns, 96 * 80], vector: [columns] };
    // A cache format with each weight format, so that every one comes.
    let index = Format::ALL.iter().position(|other| *other == format).unwrap();
    let cache_format = CacheFormat::ALL[index % CacheFormat::ALL.len()];
    let mut resources = Resources::new(&shapes, max_binding_bytes).cache_in(cache_format);
    let mut plan = PlanBuilder::new(&mut resources, capacity);
    let matrix = plan.resources.weight_matrix("matrix", VOCABULARY, COLUMNS);
    let vector = plan.resources.weight_vector("vector", COLUMNS);
    let embedded = plan.embed(matrix);
    let h = plan.rms_norm(embedded, vector, 1e-5);
    plan.matmul(matrix, h);
    let x = plan.embed(matrix);
    let x = plan.rms_norm(x, vector, 1e-5);
    let x = plan.layer_norm(x, vector, vector, 1e-5);
    let table = plan.resources.rotary_table(RotaryTable {
        frequencies: vec![1.0; 32],
        divisors: None,
        context_length: CONTEXT,
    });
    for pairing in [Pairing::Adjacent, Pairing::Halves] {
        plan.rope(x, table, 64, 64, pairing);
    }
    let k = plan.input(Rows::Step, 128);
    let keys = plan.resources.cache("keys", 128, CONTEXT);
    let values = plan.resources.cache("values", 128, CONTEXT);
    plan.cache_store(k, keys);
    let shape = AttentionShape::new(8, 2, 64);
    let y = plan.attention(x, keys, values, shape);
    let capped = AttentionShape { softcap: Some(50.0), window: Some(8), ..shape };
    let capped = plan.attention(x, keys, values, capped);
    let y = plan.add(y, capped);
    let gated = plan.gated_activation(x, y, Function::Silu);
    let gated = plan.elementwise(gated, Function::Softcap(30.0));
    let sum = plan.add(x, gated);
    scan(&mut plan);
    plan.matmul(matrix, sum);
    feed_forward(&mut plan, sum, vector);
    let last = plan.last_row(sum);
    let logits = plan.matmul(matrix, last);
    let mut plans = vec![plan.finish(logits)];
    resources.check_complete("test").unwrap();
    if fused {
        stack(&mut plans, &mut resources);
        plans = plans.into_iter().map(|plan| fuse(plan, &mut resources)).collect();
    }
    let mut tail = Tail::new(&mut resources, VOCABULARY);
    if fused {
        tail.follow(&mut plans);
    }
    let mut plan = plans.remove(0);
    plan.kernels.extend(tail.plan.kernels);
    plan
}

/// What fusion leaves of two feed-forward layers has every epilogue that needs no attention.
fn feed_forward(plan: &mut PlanBuilder<'_, '_>, x: Activation, vector: Buffer) {
    let product = |plan: &mut PlanBuilder<'_, '_>, name: &str, x| {
        let matrix = plan.resources.weight_matrix(&format!("square {name}"), COLUMNS, COLUMNS);
        plan.matmul(matrix, x)
    };
    let (gate, up) = (product(plan, "gate", x), product(plan, "up", x));
    let h = plan.gated_activation(gate, up, Function::Silu);
    let y = product(plan, "down", h);
    let residual = plan.add(x, y);
    let h = plan.rms_norm(residual, vector, 1e-5);
    let h = product(plan, "wide", h);
    let h = plan.elementwise(h, Function::ReluSquared);
    let y = product(plan, "narrow", h);
    let residual = plan.add(residual, y);
    let [q, k, v] = ["q", "k", "v"].map(|name| {
        let weight = plan.resources.weight_matrix(&format!("square {name}"), COLUMNS, COLUMNS);
        plan.linear(Linear { weight, bias: Some(vector) }, residual)
    });
    let [keys, values] =
        ["wide keys", "wide values"].map(|name| plan.resources.cache(name, 512, CONTEXT));
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    plan.attention(q, keys, values, AttentionShape::new(8, 8, 64));
}

/// The scan of Nemotron 3 Nano 4B.
fn scan(plan: &mut PlanBuilder<'_, '_>) {
    let shape =
        ScanShape { head_count: 96, head_dim: 80, group_count: 8, state_size: 128, conv_kernel: 4 };
    let projected = plan.input(Rows::Step, shape.projected());
    let buffers = ScanBuffers {
        conv: plan.resources.recurrent_state("conv", 5 * u64::from(shape.channels())),
        scalars: plan.resources.recurrent_state("scalars", 3 * u64::from(shape.head_count)),
        ring: plan.resources.recurrent_state("ring", shape.ring_words()),
        state: plan.resources.recurrent_state("state", shape.state_words()),
    };
    let y = plan.scan(projected, buffers, shape);
    let norm = plan.resources.recurrent_state("norm", u64::from(shape.inner()));
    let y = plan.rms_norm_by_parts(y, norm, shape.group_count, 1e-5);
    let output = plan.resources.weight_matrix("output", COLUMNS, shape.inner());
    plan.matmul(output, y);
}

/// Kernels with their name and format, one for each pipeline that a device would compile.
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

/// The kernels of a plan, products by every variant and tile.
fn varied(plan: &Plan) -> Vec<Kernel> {
    let (mut by_variants, mut by_tiles) =
        (Variant::ALL.map(|_| plan.clone()), Tile::ALL.map(|_| plan.clone()));
    by_variants.iter_mut().zip(Variant::ALL).for_each(|(plan, variant)| plan.vary(variant));
    by_tiles.iter_mut().zip(Tile::ALL).for_each(|(plan, tile)| plan.tile(tile));
    let kernels = by_variants.into_iter().chain(by_tiles).flat_map(|plan| plan.kernels);
    kernels.map(|planned| planned.kernel).collect()
}

fn parse(name: &str, text: &str, optional: Capabilities) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    // What every adapter has, `unpack2x16float` among it.
    let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32 | optional;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(text)));
    (module, info)
}

/// The shader of a kernel, parsed and valid.
fn module(name: &str, kernel: &Kernel) -> (Module, ModuleInfo) {
    let format = kernel.matrix().map(|matrix| matrix.format);
    let needs = |folder: &str| kernel.imports().iter().any(|(_, file)| file.starts_with(folder));
    let mut optional = Capabilities::empty();
    optional.set(Capabilities::SUBGROUP, needs("subgroups/"));
    optional.set(Capabilities::SHADER_FLOAT16, needs("f16/"));
    parse(name, &assemble(kernel.shader(), &kernel.imports(), format).unwrap(), optional)
}

/// The shader with the kernel's constants in it, valid once more.
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

/// Whether a binding may be written, by binding, of one group's storage buffers; checks that
/// the others are the `Step`.
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

/// Planes are arrays of words or of vectors of four, and their rows are whole elements, so that a
/// row's first word is the start of one.
#[test]
fn planes_are_whole_elements() {
    for format in Format::ALL {
        let (_, text) = Kernel::ALL.iter().find(|(name, _)| *name == "matmul").unwrap();
        let slots =
            [("bias", "biases/none"), ("epilogue", "epilogues/store"), ("tile", "tiles/staged")];
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
    let formats = Format::ALL.map(|format| (format.stem(), format.rules().shader().to_owned()));
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
        // Unless that is a file's name too, which fills it where nothing else does.
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
        for line in text.lines().filter(|line| line.starts_with("@group")) {
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

/// The comment that a file begins with.
fn opening(text: &str) -> String {
    text.lines().take_while(|line| line.starts_with("//")).collect::<Vec<_>>().join(" ")
}

/// The two platforms want different headers, so files have none; and imports are the only
/// directive.
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
