//! Tiny random Nemotron-H models, as llama.cpp's converter writes them.

use tablm::formats::Format;

use super::gguf::{BYTE_TOKENS, Gguf, array, byte_tokenizer, f32_bytes, kind, random_rows};
use super::random::Random;

const HIDDEN: usize = 48;
const INTERMEDIATE: usize = 96;
/// Attention: query heads, key/value heads, head size.
const ATTENTION: [usize; 3] = [4, 2, 16];
/// Mamba: heads, head size, groups, state size, convolution kernel. No size fills a tile.
const MAMBA: [usize; 5] = [6, 20, 2, 24, 4];

/// A model with a layer for each letter of `pattern`: `M`amba, `*` attention, `-` feed-forward.
pub fn tiny_nemotron_h(pattern: &str) -> Gguf {
    let [heads, head_dim, groups, state, kernel] = MAMBA;
    let counts = |letter: char, count: usize| {
        let counts = pattern.chars().map(|found| if found == letter { count as u32 } else { 0 });
        let bytes: Vec<u8> = counts.flat_map(u32::to_le_bytes).collect();
        array(kind::U32, pattern.len() as u64, &bytes)
    };
    let mut file = byte_tokenizer(Gguf::new())
        .str("general.architecture", "nemotron_h")
        .u32("nemotron_h.block_count", pattern.len() as u32)
        .u32("nemotron_h.context_length", 8192)
        .u32("nemotron_h.embedding_length", HIDDEN as u32)
        .u32("nemotron_h.vocab_size", BYTE_TOKENS as u32)
        .raw("nemotron_h.feed_forward_length", counts('-', INTERMEDIATE))
        .raw("nemotron_h.attention.head_count_kv", counts('*', ATTENTION[1]))
        .u32("nemotron_h.attention.head_count", ATTENTION[0] as u32)
        .u32("nemotron_h.attention.key_length", ATTENTION[2] as u32)
        .u32("nemotron_h.attention.value_length", ATTENTION[2] as u32)
        .f32("nemotron_h.attention.layer_norm_rms_epsilon", 1e-5)
        .f32("nemotron_h.rope.freq_base", 10_000.0)
        .u32("nemotron_h.ssm.conv_kernel", kernel as u32)
        .u32("nemotron_h.ssm.state_size", state as u32)
        .u32("nemotron_h.ssm.group_count", groups as u32)
        .u32("nemotron_h.ssm.inner_size", (heads * head_dim) as u32)
        .u32("nemotron_h.ssm.time_step_rank", heads as u32);
    let mut random = Random::new(11);
    for (layer, letter) in pattern.chars().enumerate() {
        let tensors = match letter {
            'M' => mamba(),
            '*' => attention(),
            _ => vec![
                ("ffn_up.weight", [INTERMEDIATE, HIDDEN]),
                ("ffn_down.weight", [HIDDEN, INTERMEDIATE]),
            ],
        };
        let name = |part: &str| format!("blk.{layer}.{part}");
        for (part, shape) in tensors {
            file = matrix(file, &mut random, &name(part), shape);
        }
        file = vector(file, &mut random, &name("attn_norm.weight"), &[HIDDEN], 0.8, 1.2);
        if letter == 'M' {
            let channels = heads * head_dim + 2 * groups * state;
            for (part, shape, low, high) in [
                ("ssm_conv1d.bias", vec![channels], -0.3, 0.3),
                ("ssm_dt.bias", vec![heads], -8.0, 8.0),
                ("ssm_a", vec![heads, 1], -8.0, -0.001),
                ("ssm_d", vec![heads, 1], -1.0, 1.0),
                ("ssm_norm.weight", vec![groups, heads * head_dim / groups], 0.8, 1.2),
            ] {
                file = vector(file, &mut random, &name(part), &shape, low, high);
            }
        }
    }
    file = vector(file, &mut random, "output_norm.weight", &[HIDDEN], 0.8, 1.2);
    file = matrix(file, &mut random, "token_embd.weight", [BYTE_TOKENS, HIDDEN]);
    matrix(file, &mut random, "output.weight", [BYTE_TOKENS, HIDDEN])
}

fn mamba() -> Vec<(&'static str, [usize; 2])> {
    let [heads, head_dim, groups, state, kernel] = MAMBA;
    let (inner, channels) = (heads * head_dim, heads * head_dim + 2 * groups * state);
    vec![
        ("ssm_in.weight", [inner + channels + heads, HIDDEN]),
        ("ssm_conv1d.weight", [channels, kernel]),
        ("ssm_out.weight", [HIDDEN, inner]),
    ]
}

fn attention() -> Vec<(&'static str, [usize; 2])> {
    let [heads, kv_heads, head_dim] = ATTENTION;
    vec![
        ("attn_q.weight", [heads * head_dim, HIDDEN]),
        ("attn_k.weight", [kv_heads * head_dim, HIDDEN]),
        ("attn_v.weight", [kv_heads * head_dim, HIDDEN]),
        ("attn_output.weight", [HIDDEN, heads * head_dim]),
    ]
}

/// Adds a random matrix, scaled so that products keep the magnitude of their inputs.
fn matrix(file: Gguf, random: &mut Random, name: &str, shape: [usize; 2]) -> Gguf {
    let size = 1.7 / (shape[1] as f32).sqrt();
    let rows = random_rows(random, Format::F32, shape[0], shape[1], size);
    file.tensor(name, Format::F32, &shape, rows)
}

/// Adds a tensor of values from `low` to `high`.
fn vector(
    file: Gguf,
    random: &mut Random,
    name: &str,
    shape: &[usize],
    low: f32,
    high: f32,
) -> Gguf {
    let value = |_| (low + high + (high - low) * random.uniform()) / 2.0;
    let values = (0..shape.iter().product()).map(value);
    file.tensor(name, Format::F32, shape, f32_bytes(values))
}
