//! `tablm bench`: times of prefill and decode, or the profile of a step.

use serde_json::{Map, json};

use super::arguments::Bench;
use super::load::load;
use super::terminal::{say, say_json};
use tablm::engine::{
    CpuBandwidth, Engine, GenerateRequest, Profile, ProfileRequest, Prompt, SamplerOptions, Step,
    Timings,
};
use tablm::error::Result;

/// Name of a timing, and its value in a run.
type Figure = (&'static str, fn(&Timings) -> f64);
const FIGURES: &[Figure] = &[
    ("prefill_ms", |timings| timings.prefill_ms),
    ("first_token_ms", |timings| timings.first_token_ms),
    ("decode_ms", |timings| timings.decode_ms),
    ("prefill_tokens_per_s", |timings| timings.prefill_tokens_per_s),
    ("decode_tokens_per_s", |timings| timings.decode_tokens_per_s),
];

pub(super) async fn bench(arguments: &Bench, json: bool) -> Result<()> {
    let mut engine = load(&arguments.model, false).await?;
    if arguments.profile {
        return profile(&mut engine, arguments, json).await;
    }
    let vocabulary = engine.info().vocabulary_size;
    // The tokens do not matter, but are the same in every run. A prompt that does not fit the
    // context is shortened to one token too many, which the engine still refuses.
    let count = arguments.prompt_tokens.min(engine.info().context_length as usize + 1);
    let ids = (0..count as u32).map(|i| i.wrapping_mul(7919) % vocabulary);
    let request = GenerateRequest {
        prompt: Prompt::Tokens(ids.collect()),
        max_tokens: Some(arguments.generate_tokens),
        sampling: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
        stop: Vec::new(),
        ignore_stop_tokens: true,
        top_logprobs: None,
        truncates: false,
    };
    let mut runs = Vec::new();
    for _ in 0..arguments.repeat.max(1) {
        engine.reset();
        runs.push(engine.generate(&request, |_| {}).await?.timings);
    }
    let reading = engine.cpu_bandwidth();
    let spread = |of: fn(&Timings) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        json!({"median": values[values.len() / 2], "min": values[0], "max": values[last]})
    };
    let medians = |which: &str| {
        let mut medians = Map::new();
        for (name, of) in FIGURES {
            medians.insert((*name).to_owned(), spread(*of)[which].clone());
        }
        medians.insert("load_ms".to_owned(), json!(engine.info().load_ms));
        medians
    };
    let info = engine.info();
    let output = json!({
        "timings": medians("median"),
        "spread": {"min": medians("min"), "max": medians("max"), "runs": runs.len()},
        "device": info.device,
        "memory": info.memory,
        "step": info.step,
        "reading": reading,
    });
    if json {
        say_json(&output);
    } else {
        say(format_args!("prefill {:.2} tokens/s", output["timings"]["prefill_tokens_per_s"]));
        say(format_args!("decode  {:.2} tokens/s", output["timings"]["decode_tokens_per_s"]));
        if let Some(CpuBandwidth { weight_bytes, read_gb_per_s }) = reading {
            say(format_args!(
                "reads   {weight_bytes} bytes of weights a token, {read_gb_per_s:.2} GB/s possible"
            ));
        }
    }
    Ok(())
}

/// Profiles a chunk of the prompt and the decode step after it, or decode steps at `--at`.
async fn profile(engine: &mut Engine, arguments: &Bench, json: bool) -> Result<()> {
    let prompt = arguments.prompt_tokens as u32;
    let positions = if arguments.at.is_empty() { &[prompt][..] } else { &arguments.at };
    let mut steps: Vec<_> =
        positions.iter().map(|position| Step { position: *position, rows: 1 }).collect();
    let rows = prompt.min(engine.chunk_rows());
    if arguments.at.is_empty() && rows > 1 {
        steps.push(Step { position: 0, rows });
    }
    let (runs, kernels) = (arguments.repeat.max(1), arguments.kernels.clone());
    let profile =
        engine.profile(&ProfileRequest { steps, runs, limit_ms: f64::INFINITY, kernels }).await?;
    if json {
        let info = engine.info();
        let output = json!({
            "profile": profile,
            "device": info.device,
            "memory": info.memory,
            "step": info.step,
        });
        say_json(&output);
    } else {
        show(&profile);
    }
    Ok(())
}

fn show(profile: &Profile) {
    say(format_args!("copies at {:.2} GB/s; times by {}", profile.copy_gb_per_s, profile.timer));
    for step in &profile.steps {
        let (rows, position, ms) = (step.rows, step.position, step.whole_us / 1000.0);
        say(format_args!(
            "\n{rows} rows at position {position}: {ms:.2} ms, median of {}",
            step.runs_us.len()
        ));
        say(format_args!("   count         µs   time     GB/s  of copy   Gop/s  kernel"));
        for kernel in &step.kernels {
            say(format_args!(
                "{:>8} {:>10.0} {:>5.1}% {:>8.2} {:>7.0}% {:>7.2}  {}",
                kernel.count,
                kernel.us,
                kernel.time_share * 100.0,
                kernel.gb_per_s,
                kernel.bandwidth_share * 100.0,
                kernel.operations as f64 / kernel.us.max(f64::MIN_POSITIVE) / 1000.0,
                kernel.name
            ));
        }
    }
}
