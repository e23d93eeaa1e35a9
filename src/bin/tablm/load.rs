//! Loading a model as the arguments and the environment ask for.

use tablm::engine::{
    CpuVariant, DeviceChoice, Engine, HostServices, LoadOptions, MatmulTiling, MatvecStrategy,
    Threads,
};
use tablm::error::{Code, Error, Result, visible};
use tablm::weights::disk::open_path;

use super::arguments::{BackendArgument, ModelArguments};
use super::tuning_cache;

/// Loads a model; `all_logits` for logits of every row of a step.
pub(super) async fn load(model: &ModelArguments, all_logits: bool) -> Result<Engine> {
    let (strategy, cpu_variant) = strategy_from_environment()?;
    let count = model.threads.map_or_else(num_cpus::get_physical, usize::from);
    let options = LoadOptions {
        device: match model.backend {
            BackendArgument::WebGpu => DeviceChoice::WebGpu,
            BackendArgument::Cpu => DeviceChoice::Cpu,
            BackendArgument::Hybrid => DeviceChoice::Hybrid,
            BackendArgument::Auto => DeviceChoice::Auto,
        },
        context_length: model.context,
        chunk: model.chunk,
        quantize: model.quantize,
        kv_format: model.kv,
        snapshots: model.snapshots,
        strategy,
        tiling: tiling_from_environment()?,
        cpu_variant,
        tuning_cache: tuning_cache::read(),
        all_logits,
        host: HostServices {
            threads: threads(count)?.into(),
            max_cpu_bytes: available_bytes(),
            compile_ahead: None,
            session_store: None,
        },
        ..LoadOptions::default()
    };
    let engine = Engine::load(open_path(&model.model)?, &options, &mut |_| {}).await?;
    if let Some(text) = engine.tuning_cache() {
        tuning_cache::write(text);
    }
    let info = engine.info();
    eprintln!("{} on {} ({:.0} ms)", visible(&info.name), info.device.adapter, info.load_ms);
    if let Some(reason) = info.fallback_reason {
        eprintln!("running on the CPU: {reason}");
    }
    warn(&info.warnings);
    Ok(engine)
}

/// Writes warnings to stderr.
pub(super) fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprintln!("warning: {}", visible(warning)));
}

/// Bytes of memory that are available, if the system reports them.
fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Starts threads for the CPU executor; one thread needs no start.
fn threads(count: usize) -> Result<Threads> {
    if count == 1 {
        return Ok(Threads::default());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build();
    let pool =
        pool.map_err(|error| Error::new(Code::InvalidRequest, format!("--threads: {error}")))?;
    Ok(pool.into())
}

/// Strategy on the GPU, or instructions on the CPU, from the environment: for tests and
/// measurements.
fn strategy_from_environment() -> Result<(Option<MatvecStrategy>, Option<CpuVariant>)> {
    let Ok(name) = std::env::var("TABLM_STRATEGY") else { return Ok((None, None)) };
    let choices = (MatvecStrategy::parse(&name), CpuVariant::parse(&name));
    if choices == (None, None) {
        let strategies = MatvecStrategy::ALL.map(MatvecStrategy::name).into_iter();
        let names = strategies.chain(CpuVariant::ALL.map(|variant| variant.name().to_owned()));
        return Err(unknown_name("TABLM_STRATEGY", &name, names.collect()));
    }
    Ok(choices)
}

/// Tiling from the environment: for tests and measurements.
fn tiling_from_environment() -> Result<Option<MatmulTiling>> {
    let Ok(name) = std::env::var("TABLM_TILING") else { return Ok(None) };
    let tiling = MatmulTiling::ALL.into_iter().find(|tiling| tiling.name() == name);
    let names = || MatmulTiling::ALL.map(|tiling| tiling.name().to_owned()).to_vec();
    tiling.map(Some).ok_or_else(|| unknown_name("TABLM_TILING", &name, names()))
}

fn unknown_name(variable: &str, found: &str, names: Vec<String>) -> Error {
    let names = names.join(", ");
    Error::invalid_request(variable, format!("found {found:?}, expected one of {names}"))
}
