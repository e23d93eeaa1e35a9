//! Which executor and which variant a load takes by itself, and what it keeps of what it measured.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::rc::Rc;

use serde_json::{Value, json};

use common::engines::devices;
use common::gguf::tiny_llama;
use tablm::engine::{DeviceChoice, Engine, Info, LoadOptions};
use tablm::formats::Format;
use tablm::gpu::AdapterHints;
use tablm::kernels::Variant;
use tablm::weights::source::MemorySource;

#[test]
fn auto_takes_the_quicker_one() {
    pollster::block_on(async {
        let (info, _) = chosen(LoadOptions::default()).await;
        let Some(predicted) = info.device.predicted else {
            assert!(!devices().await.contains(&DeviceChoice::Gpu), "{info:?}");
            return;
        };
        println!("{predicted:?}");
        let cpu_token_ms = predicted.cpu_token_ms.unwrap();
        assert!(predicted.gpu_token_ms.is_finite() && cpu_token_ms > 0.0, "{predicted:?}");
        // Where prompts were measured too, they count.
        let on_gpu = match predicted.prompt {
            None => predicted.gpu_token_ms <= cpu_token_ms,
            Some(_) => info.device.backend != "cpu",
        };
        assert_eq!(info.device.backend == "gpu", on_gpu && info.device.backend != "shared");
        assert_eq!(info.fallback_reason.is_none(), on_gpu, "{:?}", info.fallback_reason);
        let device = DeviceChoice::Gpu;
        let (chosen, _) = chosen(LoadOptions { device, ..LoadOptions::default() }).await;
        assert!(chosen.device.predicted.is_none(), "{chosen:?}");
        let same_bytes = info.memory.peak_gpu_bytes == chosen.memory.peak_gpu_bytes;
        assert!(same_bytes || info.device.backend != "gpu", "{} bytes", info.memory.peak_gpu_bytes);
    });
}

/// What a load of a tiny model chose by, with those verdicts kept, and what is to be kept then.
async fn chosen(options: LoadOptions) -> (Info, Option<String>) {
    let file = MemorySource::new("tiny.gguf", tiny_llama(64, Format::Q4_0).bytes());
    let engine = Engine::load(vec![Rc::new(file)], &options, &mut |_| {}).await.unwrap();
    (engine.info(), engine.verdicts().map(str::to_owned))
}

/// An adapter that says it is no processor is asked about prompts too, and shares the work with the CPU where
/// that is much quicker than either alone.
#[test]
fn auto_shares_an_answer_where_that_is_worth_it() {
    pollster::block_on(async {
        if !devices().await.contains(&DeviceChoice::Gpu) {
            return;
        }
        let adapter =
            AdapterHints { kind: Some("integrated".to_owned()), ..AdapterHints::default() };
        let with = |text: String| LoadOptions {
            verdicts: Some(text),
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

        // A token takes the GPU twice the CPU's time; one of a prompt as long, a tenth, a tenth with a state that
        // takes long to come over, and ten times as long.
        let cases = [
            ([1e6, 1e6, 1e3], "cpu"),
            ([1e5, 1e6, 1e3], "shared"),
            ([1e5, 1e6, 1e12], "gpu"),
            ([1e7, 1e6, 1e3], "cpu"),
        ];
        let mut kept: Value = serde_json::from_str(&text.expect("something to keep")).unwrap();
        for ([gpu, cpu, state], backend) in cases {
            let verdict = kept.as_object_mut().unwrap().values_mut().next().unwrap();
            verdict["cpu_ms_per_gb"] = json!(1e6);
            verdict["rates"] = json!([{"variant": "together", "ms_per_gb": 2e6}]);
            verdict["prompt"] =
                json!({"gpu_ms_per_gb": gpu, "cpu_ms_per_gb": cpu, "state_ms_per_gb": state});
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
        let verdict = kept.as_object_mut().unwrap().values_mut().next().unwrap();
        verdict["prompt"] = Value::Null;
        assert!(
            chosen(with(kept.to_string())).await.1.is_some(),
            "a verdict without a prompt is no answer"
        );
    });
}

#[test]
fn verdicts_are_kept_and_used_while_they_fit() {
    pollster::block_on(async {
        if !devices().await.contains(&DeviceChoice::Gpu) {
            return;
        }
        let with =
            |text: &str| LoadOptions { verdicts: Some(text.to_owned()), ..LoadOptions::default() };
        let (measured, text) = chosen(with("")).await;
        let predicted = measured.device.predicted.unwrap();
        println!("{predicted:?}");
        assert!(!predicted.cached && !predicted.variants.is_empty(), "{predicted:?}");
        let text = text.expect("something to keep");

        // Absurd numbers show that nothing is measured: the GPU is the quicker one by the last of its variants.
        let mut kept: Value = serde_json::from_str(&text).unwrap();
        let verdict = kept.as_object_mut().unwrap().values_mut().next().unwrap();
        let day = verdict["day"].as_u64().unwrap();
        verdict["cpu_ms_per_gb"] = json!(1e12);
        let together = json!({"variant": "together", "ms_per_gb": 1e11});
        verdict["rates"] = json!([together, {"variant": "alone", "ms_per_gb": 1e6}]);
        let absurd = verdict.clone();
        let (used, text) = chosen(with(&kept.to_string())).await;
        assert_eq!((used.device.backend.as_str(), text), ("gpu", None));
        assert!(
            used.kernels.iter().any(|kernel| kernel == "matvec Q4_0 alone"),
            "{:?}",
            used.kernels
        );
        let predicted = used.device.predicted.unwrap();
        assert!(predicted.cached && predicted.variants.len() == 2, "{predicted:?}");
        assert!(predicted.cpu_token_ms.unwrap() > 1e5 * predicted.gpu_token_ms, "{predicted:?}");

        let key = kept.as_object().unwrap().keys().next().unwrap().clone();
        let changed = |field: &str, value: Value| {
            let mut verdict = absurd.clone();
            verdict[field] = value;
            json!({key.clone(): verdict}).to_string()
        };
        let unfit = [
            "[".repeat(100_000),
            "[]".to_owned(),
            json!({key.clone(): 7}).to_string(),
            json!({"another adapter": absurd.clone()}).to_string(),
            changed("day", json!(day - 31)),
            changed("day", json!(day + 2)),
            changed("cpu_ms_per_gb", Value::Null),
            changed("rates", json!([])),
            changed("rates", json!([{"variant": "fastest", "ms_per_gb": 1.0}])),
            changed("rates", json!([{"variant": "alone", "ms_per_gb": -1.0}])),
        ];
        for text in unfit {
            let (info, keep) = chosen(with(&text)).await;
            assert!(!info.device.predicted.unwrap().cached && keep.is_some(), "{text:.80}");
        }

        // Who asks for both gets them, and nothing is measured.
        let (device, variant) = (DeviceChoice::Gpu, Some(Variant::Wide));
        let (forced, text) =
            chosen(LoadOptions { device, variant, ..with(&kept.to_string()) }).await;
        assert!(
            forced.kernels.iter().any(|kernel| kernel == "matvec Q4_0 wide"),
            "{:?}",
            forced.kernels
        );
        assert_eq!((forced.device.predicted.is_none(), text), (true, None));
    });
}
