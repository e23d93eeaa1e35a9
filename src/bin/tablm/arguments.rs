//! What the command line takes: commands and their arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tablm::kernels::CacheFormat;
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
    /// Token ids of a text.
    Tokenize(Tokenize),
    /// Text of token ids.
    Detokenize(Detokenize),
    /// What a model is and needs, from its headers alone.
    Inspect(Inspect),
    /// Speed of prefill and decode.
    Bench(Bench),
    /// Write a safetensors folder anew with smaller weights.
    #[command(alias = "quantise")]
    Quantize(Quantize),
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Backend {
    Gpu,
    Cpu,
    Auto,
    /// Prompts on the GPU, tokens on the CPU, with the weights twice.
    Shared,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Args)]
pub(crate) struct Model {
    /// A .gguf file, one of several parts or their folder, or a safetensors folder.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Where to run.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: Backend,
    /// Positions to have room for.
    #[arg(long)]
    pub(crate) context: Option<u32>,
    /// Rows of a prompt per step.
    #[arg(long)]
    pub(crate) chunk: Option<u32>,
    /// Threads that compute where the CPU does; by default one for each of its cores.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    /// Turn matrices into this format while loading, where that makes them smaller.
    #[arg(long, value_name = "FORMAT", value_parser = target)]
    pub(crate) quantize: Option<Target>,
    /// Keep keys and values in this format: f32, f16 or q8. By default f16, but f32 where all
    /// weights are.
    #[arg(long, value_name = "FORMAT", value_parser = kv_format)]
    pub(crate) kv: Option<CacheFormat>,
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

#[derive(Args)]
pub(crate) struct Sampling {
    /// 0 always picks the likeliest token; at most 2.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    /// Keep the K likeliest tokens.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) top_k: Option<u32>,
    /// Keep the likeliest tokens that have this probability together; 0 always picks the likeliest.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    /// Keep tokens at least this likely, relative to the likeliest.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    /// Divide the logits of tokens already seen.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) repetition_penalty: Option<f32>,
    /// Lower the logits of tokens by how often they were generated.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) frequency_penalty: Option<f32>,
    /// Lower the logits of tokens that were generated.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) presence_penalty: Option<f32>,
    /// Makes sampling repeatable.
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
}

#[derive(Args)]
pub(crate) struct Generate {
    #[command(flatten)]
    pub(crate) model: Model,
    /// One message of a user.
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["raw_prompt", "messages"])]
    pub(crate) prompt: Option<String>,
    /// Text to continue as it is.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "messages")]
    pub(crate) raw_prompt: Option<String>,
    /// A JSON file with messages in OpenAI's form; - reads standard input.
    #[arg(long)]
    pub(crate) messages: Option<PathBuf>,
    /// A JSON file with the tools that the model may call, in OpenAI's form; - reads standard input.
    #[arg(long, conflicts_with = "raw_prompt")]
    pub(crate) tools: Option<PathBuf>,
    /// Whether to reason before the answer, where the model can do both.
    #[arg(long, value_enum, conflicts_with = "raw_prompt")]
    pub(crate) thinking: Option<Switch>,
    /// The most tokens to generate.
    #[arg(long)]
    pub(crate) max_tokens: Option<usize>,
    /// Strings that end the text.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

#[derive(Args)]
pub(crate) struct Logits {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Token ids, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) tokens: Vec<u32>,
    /// One row for every position.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args)]
pub(crate) struct Perplexity {
    #[command(flatten)]
    pub(crate) model: Model,
    /// A text file; - reads standard input.
    #[arg(long)]
    pub(crate) text: PathBuf,
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
    /// Positions to have room for.
    #[arg(long)]
    pub(crate) context: Option<u32>,
    /// As if loaded with matrices turned into this format.
    #[arg(long, value_name = "FORMAT", value_parser = target)]
    pub(crate) quantize: Option<Target>,
    /// As if keys and values were kept in this format: f32, f16 or q8.
    #[arg(long, value_name = "FORMAT", value_parser = kv_format)]
    pub(crate) kv: Option<CacheFormat>,
}

#[derive(Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 512)]
    pub(crate) prompt_tokens: usize,
    /// Tokens to generate.
    #[arg(long, default_value_t = 128)]
    pub(crate) generate_tokens: usize,
    /// Runs.
    #[arg(long, default_value_t = 3)]
    pub(crate) repeat: usize,
    /// Show where the time of a step goes, kernel by kernel, instead of how fast prompts are read
    /// and answered: of steps of the prompt, and of one token after it.
    #[arg(long)]
    pub(crate) profile: bool,
    /// Profile steps of one token at these positions only.
    #[arg(long, value_name = "POSITIONS", value_delimiter = ',', requires = "profile")]
    pub(crate) at: Vec<u32>,
    /// Profile only kernels whose names begin so.
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "profile")]
    pub(crate) kernels: String,
}

#[derive(Args)]
pub(crate) struct Quantize {
    /// A safetensors folder.
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The folder to write: new or empty.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The format of the matrices.
    #[arg(long, value_parser = target)]
    pub(crate) format: Target,
    /// A text whose perplexity is taken before and after.
    #[arg(long)]
    pub(crate) text: Option<PathBuf>,
    /// Positions to have room for, with --text.
    #[arg(long)]
    pub(crate) context: Option<u32>,
    /// Where to run, with --text.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: Backend,
}
