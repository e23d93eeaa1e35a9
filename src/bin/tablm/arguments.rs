//! Commands of the command line and their arguments. Doc comments of arguments are their help.

use std::path::PathBuf;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tablm::engine::{
    CacheFormat, FREQUENCY_PENALTY, MAX_THREADS, MIN_P, PRESENCE_PENALTY, REPETITION_PENALTY,
    TEMPERATURE, TOP_K, TOP_P,
};
use tablm::weights::quantize::Target;

/// Small language models, natively.
#[derive(Parser)]
#[command(name = "tablm", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print one JSON object on stdout.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Continue a prompt or answer a chat; without a prompt, chat interactively.
    Generate(Generate),
    /// Logits after the last token, or after each.
    Logits(Logits),
    /// Perplexity of a text.
    Perplexity(Perplexity),
    /// Embeddings of texts.
    Embed(Embed),
    /// Token ids of a text.
    Tokenize(Tokenize),
    /// Text of token ids.
    Detokenize(Detokenize),
    /// Architecture, tensors and memory of a model, from its headers alone.
    Inspect(Inspect),
    /// Speed of prefill and decode.
    Bench(Bench),
    /// Read a prompt and save its state, to continue from with generate --load-session.
    Snapshot(Snapshot),
    /// Convert a safetensors folder to one with quantized weights.
    #[command(alias = "quantise")]
    Quantize(Quantize),
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum BackendArgument {
    /// The GPU.
    #[value(name = "webgpu", alias = "gpu")]
    WebGpu,
    /// The CPU.
    Cpu,
    /// Prefill on the GPU, decode on the CPU, each with its own copy of the weights.
    Hybrid,
    /// The device that a short measurement predicts to be fastest.
    Auto,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Args)]
pub(crate) struct ModelArguments {
    /// A .gguf file, one of several parts or their folder, or a safetensors folder.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Device to run on.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: BackendArgument,
    /// Context length in positions.
    #[arg(long)]
    pub(crate) context: Option<u32>,
    /// Most rows of a prefill step.
    #[arg(long)]
    pub(crate) chunk: Option<u32>,
    /// Threads on the CPU; by default one for each of its cores.
    #[arg(long, value_name = "COUNT", value_parser = thread_count())]
    pub(crate) threads: Option<u16>,
    /// Quantize matrices to this format while loading, where that makes them smaller.
    #[arg(long, value_name = "FORMAT", value_parser = target)]
    pub(crate) quantize: Option<Target>,
    /// Format of the KV cache: f32, f16 or q8; by default f16, or f32 if all weights are f32.
    #[arg(long, value_name = "FORMAT", value_parser = kv_format)]
    pub(crate) kv: Option<CacheFormat>,
    /// Snapshots of a state that cannot be truncated, to which a chat can go back.
    #[arg(long, value_name = "COUNT")]
    pub(crate) snapshots: Option<u32>,
}

fn thread_count() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=i64::from(MAX_THREADS))
}

fn kv_format(name: &str) -> Result<CacheFormat, String> {
    CacheFormat::from_name(name).ok_or_else(|| "expected f32, f16 or q8".to_owned())
}

fn target(name: &str) -> Result<Target, String> {
    Target::from_name(name).ok_or_else(|| {
        let known = Target::ALL.map(|target| target.format().name());
        format!("expected {}", known.join(" or "))
    })
}

// Not a doc comment: clap would show it as the description of the command. The help of each option
// is the documentation of the request field.
#[derive(Args)]
pub(crate) struct SamplingArguments {
    #[arg(long, help = TEMPERATURE.to_string(), allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    #[arg(long, help = TOP_K.to_string(), allow_negative_numbers = true)]
    pub(crate) top_k: Option<u32>,
    #[arg(long, help = TOP_P.to_string(), allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    #[arg(long, help = MIN_P.to_string(), allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    #[arg(long, help = REPETITION_PENALTY.to_string(), allow_negative_numbers = true)]
    pub(crate) repetition_penalty: Option<f32>,
    #[arg(long, help = FREQUENCY_PENALTY.to_string(), allow_negative_numbers = true)]
    pub(crate) frequency_penalty: Option<f32>,
    #[arg(long, help = PRESENCE_PENALTY.to_string(), allow_negative_numbers = true)]
    pub(crate) presence_penalty: Option<f32>,
    /// Seed of the draws, which makes sampling repeatable.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Generate {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// One user message.
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["raw_prompt", "messages"])]
    pub(crate) prompt: Option<String>,
    /// Text to continue, without the chat template.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "messages")]
    pub(crate) raw_prompt: Option<String>,
    /// JSON file with messages in OpenAI's form; - reads standard input.
    #[arg(long)]
    pub(crate) messages: Option<PathBuf>,
    /// JSON file with the tools that the model may call, in OpenAI's form; - reads standard input.
    #[arg(long, conflicts_with = "raw_prompt")]
    pub(crate) tools: Option<PathBuf>,
    /// Turn reasoning before the answer on or off, if the model supports both.
    #[arg(long, value_enum, conflicts_with = "raw_prompt")]
    pub(crate) thinking: Option<Switch>,
    /// Most tokens to generate.
    #[arg(long)]
    pub(crate) max_tokens: Option<usize>,
    /// Leave out the oldest turns if the messages do not fit the context.
    #[arg(long, conflicts_with = "raw_prompt")]
    pub(crate) truncate: bool,
    /// String that ends the text; can be given several times.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// Continue from the state in this file: what the prompt has in common with it is not read.
    #[arg(long, value_name = "FILE")]
    pub(crate) load_session: Option<PathBuf>,
    /// Save the state after the answer to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) save_session: Option<PathBuf>,
    /// Format of keys and values in the file, instead of that of the cache: f32, f16 or q8, which
    /// takes least and rounds.
    #[arg(long, value_name = "FORMAT", value_parser = kv_format, requires = "save_session")]
    pub(crate) session_kv_format: Option<CacheFormat>,
    #[command(flatten)]
    pub(crate) sampling: SamplingArguments,
}

#[derive(Args)]
pub(crate) struct Snapshot {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// JSON file with messages in OpenAI's form; - reads standard input.
    #[arg(long)]
    pub(crate) messages: PathBuf,
    /// JSON file with the tools that the model may call, in OpenAI's form; - reads standard input.
    #[arg(long)]
    pub(crate) tools: Option<PathBuf>,
    /// Format of keys and values in the file, instead of that of the cache: f32, f16 or q8, which
    /// takes least and rounds.
    #[arg(long, value_name = "FORMAT", value_parser = kv_format)]
    pub(crate) session_kv_format: Option<CacheFormat>,
    /// File to write.
    pub(crate) output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Logits {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) tokens: Vec<u32>,
    /// Print one row for every position.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args)]
pub(crate) struct Perplexity {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// A text file; - reads standard input.
    #[arg(long)]
    pub(crate) text: PathBuf,
}

#[derive(Args)]
pub(crate) struct Embed {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// One text.
    #[arg(
        long,
        allow_hyphen_values = true,
        conflicts_with = "texts",
        required_unless_present = "texts"
    )]
    pub(crate) text: Option<String>,
    /// JSON file with a list of texts or of lists of token ids; - reads standard input.
    #[arg(long)]
    pub(crate) texts: Option<PathBuf>,
    /// Leading dimensions to keep.
    #[arg(long)]
    pub(crate) dimensions: Option<usize>,
    /// Name of the prompt to put before each text, one of those in the model's files.
    #[arg(long)]
    pub(crate) prompt_name: Option<String>,
}

#[derive(Args)]
pub(crate) struct Tokenize {
    /// A .gguf file, one of several parts or their folder, or a safetensors folder.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// The text.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) text: String,
}

#[derive(Args)]
pub(crate) struct Detokenize {
    /// A .gguf file, one of several parts or their folder, or a safetensors folder.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) tokens: Vec<u32>,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// A .gguf file, one of several parts or their folder, or a safetensors folder.
    pub(crate) path: PathBuf,
    /// Context length in positions.
    #[arg(long)]
    pub(crate) context: Option<u32>,
    /// Report a load with this --quantize.
    #[arg(long, value_name = "FORMAT", value_parser = target)]
    pub(crate) quantize: Option<Target>,
    /// Report a load with this --kv: f32, f16 or q8.
    #[arg(long, value_name = "FORMAT", value_parser = kv_format)]
    pub(crate) kv: Option<CacheFormat>,
}

#[derive(Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Number of prompt tokens.
    #[arg(long, default_value_t = 512)]
    pub(crate) prompt_tokens: usize,
    /// Number of tokens to generate.
    #[arg(long, default_value_t = 128)]
    pub(crate) generate_tokens: usize,
    /// Number of runs.
    #[arg(long, default_value_t = 3)]
    pub(crate) repeat: usize,
    /// Profile a prefill step and the decode step after the prompt, kernel by kernel, instead of
    /// measuring throughput.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Profile steps of one token at these positions only.
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', requires = "profile")]
    pub(crate) at: Vec<u32>,
    /// Profile only kernels whose names begin with this.
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "profile")]
    pub(crate) kernels: String,
}

#[derive(Args)]
pub(crate) struct Quantize {
    /// A safetensors folder.
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Folder to write, new or empty.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Format of the matrices.
    #[arg(long, value_parser = target)]
    pub(crate) format: Target,
    /// Text whose perplexity is computed before and after.
    #[arg(long)]
    pub(crate) text: Option<PathBuf>,
    /// Context length in positions, with --text.
    #[arg(long)]
    pub(crate) context: Option<u32>,
    /// Device to run on, with --text.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: BackendArgument,
}
