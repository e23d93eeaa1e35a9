//! Choice of the device and of the strategy by a load, and the measurements that it keeps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use serde_json::{Value, json};

use common::engines::devices;
use common::gguf::tiny_llama;
use tablm::engine::{DeviceChoice, Engine, Info, LoadOptions};
use tablm::formats::Format;
use tablm::gpu::AdapterHints;
use tablm::kernels::{MatvecStrategy, Reduction};
use tablm::weights::source::MemorySource;

#[test]
fn auto_selects_the_fastest_device() {
    pollster::block_on(async {
        let (info, _) = chosen(LoadOptions::default()).await;
        let Some(predicted) = info.device.predicted else {
            assert!(!devices().await.contains(&DeviceChoice::WebGpu), "{info:?}");
            return;
        };
        println!("{predicted:?}");
        let cpu_token_ms = predicted.cpu_token_ms.unwrap();
        assert!(predicted.gpu_token_ms.is_finite() && cpu_token_ms > 0.0, "{predicted:?}");
        // Where prefill was measured, it decides.
        let on_gpu = match predicted.prompt {
            None => predicted.gpu_token_ms <= cpu_token_ms,
            Some(_) => info.device.backend != "cpu",
        };
        assert_eq!(info.device.backend == "webgpu", on_gpu && info.device.backend != "hybrid");
        assert_eq!(info.fallback_reason.is_none(), on_gpu, "{:?}", info.fallback_reason);
        let device = DeviceChoice::WebGpu;
        let (chosen, _) = chosen(LoadOptions { device, ..LoadOptions::default() }).await;
        assert!(chosen.device.predicted.is_none(), "{chosen:?}");
        let same_bytes = info.memory.peak_gpu_bytes == chosen.memory.peak_gpu_bytes;
        assert!(
            same_bytes || info.device.backend != "webgpu",
            "{} bytes",
            info.memory.peak_gpu_bytes
        );
    });
}

/// Report of a tiny model after a load, and the tuning cache for later loads.
async fn chosen(options: LoadOptions) -> (Info, Option<String>) {
    let file = MemorySource::new("tiny.gguf", tiny_llama(64, Format::Q4_0).bytes());
    let engine = Engine::load(vec![Rc::new(file)], &options, &mut |_| {}).await.unwrap();
    (engine.info(), engine.tuning_cache().map(str::to_owned))
}

/// Prefill is measured too on an adapter that says it is no CPU; hybrid execution is selected where
/// it is much faster than either device alone.
#[test]
fn auto_selects_hybrid_execution_where_it_is_much_faster() {
    pollster::block_on(async {
        if !devices().await.contains(&DeviceChoice::WebGpu) {
            return;
        }
        let adapter =
            AdapterHints { kind: Some("integrated".to_owned()), ..AdapterHints::default() };
        let with = |text: String| LoadOptions {
            tuning_cache: Some(text),
            adapter: adapter.clone(),
            ..LoadOptions::default()
        };
        let (measured, text) = chosen(with(String::new())).await;
        let predicted = measured.device.predicted.unwrap();
        println!("{predicted:?}");
        let is_quicker_on_cpu = predicted.cpu_token_ms.unwrap() < predicted.gpu_token_ms;
        assert_eq!(predicted.prompt.is_some(), is_quicker_on_cpu, "{predicted:?}");
        if let Some(prompt) = predicted.prompt {
            let times = [prompt.gpu_token_ms, prompt.cpu_token_ms, prompt.hand_over_ms];
            assert!(times.iter().all(|ms| ms.is_finite() && *ms > 0.0), "{predicted:?}");
        }

        // A generated token takes the GPU twice the CPU's time. A prompt token takes as long on
        // both; a tenth on the GPU; a tenth with a slow handover; and ten times as long.
        let cases = [
            ([1e6, 1e6, 1e3], "cpu"),
            ([1e5, 1e6, 1e3], "hybrid"),
            ([1e5, 1e6, 1e12], "webgpu"),
            ([1e7, 1e6, 1e3], "cpu"),
        ];
        let mut kept: Value = serde_json::from_str(&text.expect("something to keep")).unwrap();
        for ([gpu, cpu, state], backend) in cases {
            let record = kept.as_object_mut().unwrap().values_mut().next().unwrap();
            record["cpu_ms_per_gb"] = json!(1e6);
            record["measurements"] = json!([{"strategy": "workgroup_reduce", "ms_per_gb": 2e6}]);
            record["prefill"] =
                json!({"gpu_ms_per_gb": gpu, "cpu_ms_per_gb": cpu, "handover_ms_per_gb": state});
            let (info, text) = chosen(with(kept.to_string())).await;
            assert_eq!(
                (info.device.backend.as_str(), text),
                (backend, None),
                "{gpu} {cpu} {state}"
            );
            assert_eq!(
                info.fallback_reason.is_some(),
                backend == "cpu",
                "{:?}",
                info.fallback_reason
            );
            assert!(info.device.predicted.unwrap().prompt.is_some());
        }
        let record = kept.as_object_mut().unwrap().values_mut().next().unwrap();
        record["prefill"] = Value::Null;
        assert!(
            chosen(with(kept.to_string())).await.1.is_some(),
            "a record without prefill is incomplete"
        );
    });
}

#[test]
fn tuning_records_are_kept_and_used_while_they_are_valid() {
    pollster::block_on(async {
        if !devices().await.contains(&DeviceChoice::WebGpu) {
            return;
        }
        let with = |text: &str| LoadOptions {
            tuning_cache: Some(text.to_owned()),
            ..LoadOptions::default()
        };
        let (measured, text) = chosen(with("")).await;
        let predicted = measured.device.predicted.unwrap();
        println!("{predicted:?}");
        assert!(!predicted.cached && !predicted.strategies.is_empty(), "{predicted:?}");
        let text = text.expect("something to keep");

        // Absurd numbers show that nothing is measured: the GPU is the faster device, by its last
        // strategy.
        let mut kept: Value = serde_json::from_str(&text).unwrap();
        let record = kept.as_object_mut().unwrap().values_mut().next().unwrap();
        let day = record["day"].as_u64().unwrap();
        record["cpu_ms_per_gb"] = json!(1e12);
        let together = json!({"strategy": "workgroup_reduce", "ms_per_gb": 1e11});
        record["measurements"] = json!([together, {"strategy": "lane_per_quad", "ms_per_gb": 1e6}]);
        let absurd = record.clone();
        let (used, text) = chosen(with(&kept.to_string())).await;
        assert_eq!((used.device.backend.as_str(), text), ("webgpu", None));
        assert!(
            used.kernels.iter().any(|kernel| kernel == "matvec Q4_0 lane_per_quad"),
            "{:?}",
            used.kernels
        );
        let predicted = used.device.predicted.unwrap();
        assert!(predicted.cached && predicted.strategies.len() == 2, "{predicted:?}");
        assert!(predicted.cpu_token_ms.unwrap() > 1e5 * predicted.gpu_token_ms, "{predicted:?}");

        let key = kept.as_object().unwrap().keys().next().unwrap().clone();
        let changed = |field: &str, value: Value| {
            let mut record = absurd.clone();
            record[field] = value;
            json!({key.clone(): record}).to_string()
        };
        let unfit = [
            "[".repeat(100_000),
            "[]".to_owned(),
            json!({key.clone(): 7}).to_string(),
            json!({"another adapter": absurd.clone()}).to_string(),
            changed("day", json!(day - 31)),
            changed("day", json!(day + 2)),
            changed("cpu_ms_per_gb", Value::Null),
            changed("measurements", json!([])),
            changed("measurements", json!([{"strategy": "fastest", "ms_per_gb": 1.0}])),
            changed("measurements", json!([{"strategy": "lane_per_quad", "ms_per_gb": -1.0}])),
        ];
        for text in unfit {
            let (info, keep) = chosen(with(&text)).await;
            assert!(!info.device.predicted.unwrap().cached && keep.is_some(), "{text:.80}");
        }
    });
}

#[test]
fn nothing_is_measured_with_device_and_strategy_given() {
    pollster::block_on(async {
        if !devices().await.contains(&DeviceChoice::WebGpu) {
            return;
        }
        let tuning_cache = Some(String::new());
        let (device, strategy) =
            (DeviceChoice::WebGpu, Some(MatvecStrategy::in_f32(Reduction::WorkgroupReduce32)));
        let (forced, text) =
            chosen(LoadOptions { device, strategy, tuning_cache, ..LoadOptions::default() }).await;
        assert!(
            forced.kernels.iter().any(|kernel| kernel == "matvec Q4_0 workgroup_reduce_32"),
            "{:?}",
            forced.kernels
        );
        assert_eq!((forced.device.predicted.is_none(), text), (true, None));
    });
}
