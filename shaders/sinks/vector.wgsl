// Sinks of attention: a logit of each head that joins the denominator of the softmax and has no
// value (OpenAI 2025, gpt-oss model card).
@group(0) @binding(SINKS) var<storage, read> sinks: array<f32>; // [heads]

// Total weight relative to e^largest. The bound keeps it finite; outputs are zero long before it.
fn with_sink(total: f32, largest: f32, head: u32) -> f32 {
    return total + exp(min(sinks[head] - largest, 80.0));
}
