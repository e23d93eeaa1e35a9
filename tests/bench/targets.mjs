// Targets of the benchmark's figures, and the check against them.

import { MAX_RATIO } from "./compiler.mjs";

const atMost = (limit) => ({
  text: `≤ ${limit.toLocaleString("en")}`,
  met: (value) => value <= limit,
});
const atLeast = (limit) => ({
  text: `≥ ${limit.toLocaleString("en")}`,
  met: (value) => value >= limit,
});
const LLAMA_LAYERS = 32;

export const targets = {
  "nemotron4b.memory.overhead_ratio": atMost(1.05),
  "nemotron4b.memory.estimate_error": atMost(0.02),
  "nemotron4b.wasm_heap_bytes": atMost(128 * 2 ** 20),
  "quantize.smollm2.loss_vs_q4_0": atMost(0.7),
  "nemotron4b.step.dispatches": atMost(120),
  "llama_minitron_width.step.dispatches": atMost(7 * LLAMA_LAYERS + 5),
  "step.submits": atMost(1),
  "step.bind_groups_created": atMost(0),
  "step.write_buffer_bytes": atMost(0),
  "step.readback_bytes": atMost(16),
  "step.encode_us": atMost(600),
  "nemotron4b.step.weight_bytes": atMost(2.01e9),
  "nemotron4b_gguf.step.weight_bytes": atMost(2.56e9),
  "vs_llamacpp_vulkan.decode": atLeast(5),
  "vs_llamacpp_vulkan.prefill": atLeast(3),
  "cpu_native.vs_llamacpp.decode": atLeast(0.8),
  "cpu_native.vs_llamacpp.prefill": atLeast(0.8),
  "vs_ort_web.decode": atLeast(15),
  "vs_ort_web.prefill": atLeast(3),
  "cpu_wasm.vs_wllama.decode": atLeast(2.5),
  "cpu_wasm.vs_wllama.prefill": atLeast(5),
  "cpu_wasm.vs_ort_wasm.decode": atLeast(8),
  "cpu_wasm.vs_ort_wasm.prefill": atLeast(1.6),
  "cpu_native.two_threads.prefill": atLeast(1.7),
  "nemotron4b.cpu.bandwidth_share": atLeast(0.6),
  "cpu_wasm.two_threads.prefill": atLeast(1.7),
  prefill_vs_decode: atLeast(4),
  ssd_vs_scan: atLeast(1.5),
  decode_decay: atLeast(0.95),
  "first_token_ms.vs_wllama": atMost(0.7),
  load_gb_per_s: atLeast(0.8),
  "compiler.worst_vs_budget": atMost(MAX_RATIO),
  "families.qwen3.vs_llamacpp.prefill": atLeast(1),
  "families.qwen3.vs_llamacpp.decode": atLeast(1),
  "families.granite_h.vs_llamacpp.prefill": atLeast(1),
  "families.granite_h.vs_llamacpp.decode": atLeast(1),
  "families.lfm2.vs_llamacpp.prefill": atLeast(1),
  "families.lfm2.vs_llamacpp.decode": atLeast(1),
  "sessions.turn10_ttft_ratio": atMost(0.1),
};

/** Returns a figure's target as text and `met` or `missed`; empty texts if it has none. */
export function checkTarget(key, figure) {
  const target = targets[key];
  if (!target) return ["", ""];
  return [target.text, target.met(figure.median) ? "met" : "missed"];
}
