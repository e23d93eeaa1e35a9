//! Tuning at load: selection of device and strategy, and the cache of its measurements.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::{Value, json};

use common::engines::{has_gpu, load_gguf};
use common::gguf::tiny_llama;
use tablm::engine::{DeviceChoice, Info, LoadOptions};
use tablm::formats::Format;
use tablm::gpu::AdapterHints;
use tablm::kernels::{MatvecStrategy, Reduction};

#[test]
fn auto_selects_the_fastest_device() {
    pollster::block_on(async {
        let (info, _) = load(LoadOptions::default()).await;
        let Some(predicted) = info.device.predicted else {
            assert!(!has_gpu().await, "{info:?}");
            return;
        };
        println!("{predicted:?}");
        let cpu_token_ms = predicted.cpu_token_ms.unwrap();
        assert!(predicted.gpu_token_ms.is_finite() && cpu_token_ms > 0.0, "{predicted:?}");
        // A measured prefill decides, too.
        let on_gpu = match predicted.prompt {
            None => predicted.gpu_token_ms <= cpu_token_ms,
            Some(_) => info.device.backend != "cpu",
        };
        assert_eq!(info.device.backend == "webgpu", on_gpu && info.device.backend != "hybrid");
        assert_eq!(info.fallback_reason.is_none(), on_gpu, "{:?}", info.fallback_reason);
        let device = DeviceChoice::WebGpu;
        let (requested, _) = load(LoadOptions { device, ..LoadOptions::default() }).await;
        assert!(requested.device.predicted.is_none(), "{requested:?}");
        if info.device.backend == "webgpu" {
            assert_eq!(info.memory.peak_gpu_bytes, requested.memory.peak_gpu_bytes);
        }
    });
}

/// Loads a tiny model; returns its report and the tuning cache, if it changed.
async fn load(options: LoadOptions) -> (Info, Option<String>) {
    let engine = load_gguf(&tiny_llama(64, Format::Q4_0), &options).await;
    (engine.info(), engine.tuning_cache().map(str::to_owned))
}

/// Prefill is measured only on adapters that are not emulated by the CPU: the test states another
/// kind.
#[test]
fn auto_selects_hybrid_execution_if_it_is_much_faster() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let adapter =
            AdapterHints { kind: Some("integrated".to_owned()), ..AdapterHints::default() };
        let with = |text: String| LoadOptions {
            tuning_cache: Some(text),
            adapter: adapter.clone(),
            ..LoadOptions::default()
        };
        let (measured, text) = load(with(String::new())).await;
        let predicted = measured.device.predicted.unwrap();
        println!("{predicted:?}");
        let is_faster_on_cpu = predicted.cpu_token_ms.unwrap() < predicted.gpu_token_ms;
        assert_eq!(predicted.prompt.is_some(), is_faster_on_cpu, "{predicted:?}");
        if let Some(prompt) = predicted.prompt {
            let times = [prompt.gpu_token_ms, prompt.cpu_token_ms, prompt.hand_over_ms];
            assert!(times.iter().all(|ms| ms.is_finite() && *ms > 0.0), "{predicted:?}");
        }

        // Decoding takes the GPU twice as long as the CPU. Prefill times of GPU and CPU, and time
        // of the handover of the state between them:
        let cases = [
            ([1e6, 1e6, 1e3], "cpu"),
            ([1e5, 1e6, 1e3], "hybrid"),
            ([1e5, 1e6, 1e12], "webgpu"),
            ([1e7, 1e6, 1e3], "cpu"),
        ];
        let mut cache: Value = serde_json::from_str(&text.expect("a tuning cache")).unwrap();
        for ([gpu, cpu, handover], backend) in cases {
            let record = cache.as_object_mut().unwrap().values_mut().next().unwrap();
            record["cpu_ms_per_gb"] = json!(1e6);
            record["measurements"] = json!([{"strategy": "workgroup_reduce", "ms_per_gb": 2e6}]);
            record["prefill"] =
                json!({"gpu_ms_per_gb": gpu, "cpu_ms_per_gb": cpu, "handover_ms_per_gb": handover});
            let (info, text) = load(with(cache.to_string())).await;
            assert_eq!(info.device.backend, backend, "{gpu} {cpu} {handover}");
            assert_eq!(text, None, "{gpu} {cpu} {handover}");
            let reason = info.fallback_reason;
            assert_eq!(reason.is_some(), backend == "cpu", "{reason:?}");
            assert!(info.device.predicted.unwrap().prompt.is_some());
        }
        let record = cache.as_object_mut().unwrap().values_mut().next().unwrap();
        record["prefill"] = Value::Null;
        let (_, text) = load(with(cache.to_string())).await;
        assert!(text.is_some(), "a record without prefill is incomplete");
    });
}

#[test]
fn valid_tuning_records_are_used_and_invalid_ones_are_measured_again() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let with = |text: &str| LoadOptions {
            tuning_cache: Some(text.to_owned()),
            ..LoadOptions::default()
        };
        let (measured, text) = load(with("")).await;
        let predicted = measured.device.predicted.unwrap();
        println!("{predicted:?}");
        assert!(!predicted.cached && !predicted.strategies.is_empty(), "{predicted:?}");
        let text = text.expect("a tuning cache");

        // Made-up times that no measurement gives: the GPU is faster, with `lane_per_quad`.
        let mut cache: Value = serde_json::from_str(&text).unwrap();
        let record = cache.as_object_mut().unwrap().values_mut().next().unwrap();
        let day = record["day"].as_u64().unwrap();
        record["cpu_ms_per_gb"] = json!(1e12);
        record["measurements"] = json!([
            {"strategy": "workgroup_reduce", "ms_per_gb": 1e11},
            {"strategy": "lane_per_quad", "ms_per_gb": 1e6},
        ]);
        let valid = record.clone();
        let (used, text) = load(with(&cache.to_string())).await;
        assert_eq!((used.device.backend.as_str(), text), ("webgpu", None));
        assert!(used.kernels.contains(&"matvec Q4_0 lane_per_quad".to_owned()), "{used:?}");
        let predicted = used.device.predicted.unwrap();
        assert!(predicted.cached && predicted.strategies.len() == 2, "{predicted:?}");
        assert!(predicted.cpu_token_ms.unwrap() > 1e5 * predicted.gpu_token_ms, "{predicted:?}");

        let key = cache.as_object().unwrap().keys().next().unwrap().clone();
        let changed = |field: &str, value: Value| {
            let mut record = valid.clone();
            record[field] = value;
            json!({key.clone(): record}).to_string()
        };
        let invalid = [
            "[".repeat(100_000),
            "[]".to_owned(),
            json!({key.clone(): 7}).to_string(),
            json!({"another adapter": valid.clone()}).to_string(),
            changed("day", json!(day - 31)),
            changed("day", json!(day + 2)),
            changed("cpu_ms_per_gb", Value::Null),
            changed("measurements", json!([])),
            changed("measurements", json!([{"strategy": "fastest", "ms_per_gb": 1.0}])),
            changed("measurements", json!([{"strategy": "lane_per_quad", "ms_per_gb": -1.0}])),
        ];
        for text in invalid {
            let (info, measured) = load(with(&text)).await;
            assert!(!info.device.predicted.unwrap().cached, "{text:.80}");
            assert!(measured.is_some(), "{text:.80}");
        }
    });
}

#[test]
fn nothing_is_measured_if_device_and_strategy_are_given() {
    pollster::block_on(async {
        if !has_gpu().await {
            return;
        }
        let tuning_cache = Some(String::new());
        let (device, strategy) =
            (DeviceChoice::WebGpu, Some(MatvecStrategy::in_f32(Reduction::WorkgroupReduce32)));
        let options = LoadOptions { device, strategy, tuning_cache, ..LoadOptions::default() };
        let (info, text) = load(options).await;
        assert!(info.kernels.contains(&"matvec Q4_0 workgroup_reduce_32".to_owned()), "{info:?}");
        assert_eq!((info.device.predicted.is_none(), text), (true, None));
    });
}
