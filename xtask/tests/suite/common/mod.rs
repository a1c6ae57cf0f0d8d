//! A finished run with made-up numbers, for what is a function of it.

pub(crate) mod external;
#[cfg(feature = "serve")]
pub(crate) mod http;
pub(crate) mod language_server;
pub(crate) mod loopback;
#[cfg(feature = "serve")]
pub(crate) mod scripted_engine;
pub(crate) mod speech;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use disco_core::Estimate;
use disco_tuner::Metric;
use xtask::{
    BaseRecord, FitRecord, FittedFeature, ModelRecord, OutputFolder, PolicyRecord, QrsCount, QrsPoint,
    QrsRecord, RunRecord, SampleRecord, Spec, StageRecord, StepRecord, TargetRecord, TuningRecord,
    WeightRecord, read_spec, write_outputs,
};

/// The names in a folder, sorted; none if it is not there.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Writes made-up results to a place; returns the place.
pub(crate) fn write_results(place: &Path) -> xtask::Result<PathBuf> {
    write_results_of(place, &record())
}

/// Writes the results of a record to a place; returns the place.
pub(crate) fn write_results_of(place: &Path, record: &RunRecord) -> xtask::Result<PathBuf> {
    let folder = OutputFolder::prepare(place, 0)?;
    folder.begin_writing()?;
    write_outputs(&folder, record)?;
    folder.finish()
}

/// The spec of the demo, but for the word that the made-up samples speak of.
pub(crate) fn demo_spec() -> Spec {
    let demo = include_str!("../../../specs/demo.toml").replace("\"my\"", "\"king\"");
    read_spec("demo.toml", &demo, Path::new("")).unwrap()
}

pub(crate) fn estimate(value: f64, std_error: f64) -> Estimate {
    Estimate { value, std_error, ess: 500.0 }
}

fn metric(value: f64, std_error: f64) -> Option<Metric> {
    Some(Metric { value, std_error: Some(std_error) })
}

fn step(step: usize) -> StepRecord {
    let share = 1.0 - (-(step as f64) / 12.0).exp();
    let wiggle = 0.02 * (step as f64 * 2.3).sin();
    let divergences = [
        ("JS", 0.31 * (1.0 - share) + 0.01, 0.02),
        ("TV", 0.62 * (1.0 - share) + 0.05, 0.02),
        ("KL(p‖π)", 1.4 * (1.0 - share) + 0.06, 0.06),
        ("KL(π‖p)", if step < 9 { f64::INFINITY } else { 0.4 * (1.0 - share) + 0.05 }, 0.05),
    ];
    StepRecord {
        step,
        tokens: 8500,
        moments: vec![
            metric(0.08 + 0.41 * share + wiggle, 0.03),
            metric(0.55 - 0.54 * share - wiggle / 2.0, 0.02),
        ],
        divergences: divergences
            .map(|(name, value, error): (&str, f64, f64)| {
                (name.to_owned(), metric(value + wiggle / 4.0, error).unwrap())
            })
            .into(),
        ess: Some(40.0 + 100.0 * share),
        gradient_norm: 1.0 - 0.8 * share,
        learning_rate: 3e-4,
    }
}

fn samples(texts: &[(&str, bool)]) -> Vec<SampleRecord> {
    let sample = |(text, finished): &(&str, bool)| SampleRecord {
        context: "KING RICHARD III:\n".into(),
        text: (*text).into(),
        log_prob: -(text.len() as f64) * 1.07,
        tokens: text.len() / 4,
        finished: *finished,
        features: vec![Some(f64::from(u8::from(text.to_lowercase().contains("king")))), Some(0.0)],
    };
    texts.iter().map(sample).collect()
}

/// A run of the demo that went well.
pub(crate) fn record() -> RunRecord {
    let curve = (0..40).map(|index| {
        let rate = 1.0 - f64::from(index) / 45.0;
        QrsPoint {
            log_beta: -40.0 + f64::from(index) / 5.0,
            acceptance_rate: estimate(rate, 0.01),
            total_variation: estimate(0.11 * rate.powf(1.6), 0.012 * rate),
        }
    });
    let stage = |name: &'static str, seconds, samples, tokens| StageRecord {
        name: name.into(),
        seconds,
        earlier_seconds: if name == "tune" { 61.2 } else { 0.0 },
        samples,
        tokens,
    };
    RunRecord {
        version: "0.1.0".into(),
        spec: demo_spec(),
        model: ModelRecord {
            name: "embedded".into(),
            facts: BTreeMap::from([
                ("architecture".to_owned(), "llama".to_owned()),
                ("parameters".to_owned(), "2.9 million".to_owned()),
                ("vocabulary".to_owned(), "2048".to_owned()),
            ]),
        },
        base: Some(BaseRecord {
            means: vec![estimate(0.083, 0.0061), estimate(0.551, 0.011)],
            by_context: Vec::new(),
            categories: Vec::new(),
            masking: None,
            skipped: 0,
            samples: samples(&[
                ("Why, then the sun will not be seen to-day;\nThe sky doth frown and lour upon our army.", true),
                ("What, is he dead?\n\nCATESBY:\nHe is, my lord; and thus I <come> to thee", false),
                ("A horse, a horse & a bottle of ale.", true),
            ]),
        }),
        target: Some(TargetRecord {
            fit: FitRecord {
                samples: 1536,
                log_z: estimate(-0.61, 0.05),
                kl: estimate(1.8134, 0.0612),
                ess: 192.4,
                largest_share: 0.0072,
                iterations: 5,
                reason: "the gradient vanished".into(),
                warnings: Vec::new(),
            },
            features: vec![
                FittedFeature {
                    coefficient: Some(estimate(2.41, 0.08)),
                    fitted: estimate(0.5, 0.0213),
                    held_out: Some(estimate(0.4871, 0.0371)),
                },
                FittedFeature {
                    coefficient: None,
                    fitted: estimate(0.0, 0.0),
                    held_out: Some(estimate(0.0, 0.0)),
                },
            ],
            by_context: Vec::new(),
            coefficients: Vec::new(),
            exact_rejection: Some(estimate(0.031, 0.002)),
            categories: Vec::new(),
            base_distances: vec![
                estimate(1.81, 0.06),
                estimate(f64::INFINITY, 0.0),
                estimate(0.742, 0.013),
                estimate(0.412, 0.011),
            ],
            heaviest: samples(&[("O King, <b>live</b> for ever & a day.", true)])
                .into_iter()
                .map(|sample| WeightRecord { share: 0.0072, sample })
                .collect(),
        }),
        tuning: Some(TuningRecord { steps: (1..=40).map(step).collect(), warnings: Vec::new() }),
        policy: Some(PolicyRecord {
            means: vec![estimate(0.4672, 0.0156), estimate(0.0176, 0.0041)],
            by_context: Vec::new(),
            categories: Vec::new(),
            distances: vec![
                estimate(0.071, 0.012),
                estimate(f64::INFINITY, 0.0),
                estimate(0.112, 0.011),
                estimate(0.014, 0.003),
            ],
            kl_from_base: estimate(1.74, 0.05),
            skipped: 0,
            samples: samples(&[
                ("Go to the king, and tell him what I say.", true),
                ("I will not be a King, nor serve a king that", false),
                ("Let us not dream that we shall wake again.", true),
            ]),
        }),
        held_out: None,
        qrs: Some(QrsRecord {
            log_beta: -34.912,
            log_betas: Vec::new(),
            proposals: 1024,
            accepted: 517,
            by_context_counts: vec![QrsCount { proposals: 1024, accepted: 517 }],
            predicted_rate: Some(estimate(0.5, 0.011)),
            predicted_means: vec![estimate(0.4912, 0.0181), estimate(0.0, 0.0)],
            acceptance_rate: estimate(0.505, 0.0156),
            total_variation: estimate(0.031, 0.009),
            curve: curve.collect(),
            warnings: vec!["The largest 5 weights hold 31% of the sum: the total variation may be larger than its error says.".into()],
            means: vec![estimate(0.4981, 0.0221), estimate(0.0, 0.0)],
            by_context: Vec::new(),
            categories: Vec::new(),
            distances: vec![
                estimate(0.021, 0.008),
                estimate(0.018, 0.006),
                estimate(0.031, 0.009),
                estimate(0.002, 0.001),
            ],
            kl_from_base: estimate(1.80, 0.05),
            skipped: 0,
            samples: samples(&[
                ("The king himself is not so much a man.", true),
                ("Your grace is welcome to the house of York.", true),
                ("O, that I were the King of all this land!", true),
            ]),
        }),
        stages: vec![
            stage("load", 0.21, 0, 0),
            stage("base", 9.8, 2048, 71_204),
            stage("fit", 0.02, 0, 0),
            stage("tune", 104.6, 10_240, 340_118),
            stage("sample", 8.1, 1024, 33_411),
            stage("qrs", 9.4, 1024, 33_020),
        ],
        peak_memory_bytes: Some(642_000_000),
    }
}
