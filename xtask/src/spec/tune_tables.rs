//! The tables `[tune]` and `[checkpoints]`, with the tables inside of them.

use disco_divergence::FDivergence;
use disco_tuner::{Adam, Baseline, Decay, EarlyStopping, Optimizer, Partition, Sampling, Validation};
use toml::de::DeTable;

use super::{
    AdapterSpec, CheckpointSpec, TuneSpec,
    allowed::{
        CLOSED_SHARE, COUNT, KEPT_STEPS, NOT_NEGATIVE, POSITIVE, RANK, SAMPLES, SHARE, SOME_TEXT, STEPS,
        TEXTS, WHOLE,
    },
    divergence::find_divergence,
    fields::{Fields, Kind},
    names::Alias,
    section::Section,
};

pub(super) const TUNE: &[&str] = &[
    "divergence",
    "optimizer",
    "adapter",
    "steps",
    "samples_per_step",
    "contexts_per_step",
    "learning_rate",
    "warmup_steps",
    "decay",
    "floor",
    "max_gradient_norm",
    "micro_batch",
    "micro_batch_tokens",
    "sampling",
    "partition",
    "baseline",
    "epochs",
    "replay",
    "max_importance_ratio",
    "max_pseudo_reward",
    "max_steps_without_success",
    "metrics_every",
    "validation",
    "early_stopping",
];
const ADAPTER: &[&str] = &["rank", "alpha", "target_modules"];
const ADAM: &[&str] = &["beta1", "beta2", "epsilon", "weight_decay"];
const OPTIMIZERS: [Kind; 3] = [("adam", ADAM), ("adamw", ADAM), ("sgd", &["momentum", "weight_decay"])];
const SAMPLING: [Kind; 2] = [("online", &[]), ("offline", &["metric", "z", "every"])];
const VALIDATION: &[&str] = &["every", "samples"];
const EARLY_STOPPING: &[&str] = &["metric", "patience", "min_delta"];
pub(super) const CHECKPOINTS: &[&str] = &["every", "keep", "best"];

/// The metrics by which one policy is better than another: of the samples of a step, or on held-out contexts.
pub(super) const METRICS: [&str; 12] = [
    "kl_target_policy",
    "kl_policy_target",
    "tv_target_policy",
    "js_target_policy",
    "ess",
    "ess_share",
    "validation/kl_target_policy",
    "validation/kl_policy_target",
    "validation/tv_target_policy",
    "validation/js_target_policy",
    "validation/ess",
    "validation/ess_share",
];

const OPTIMIZER_ALIASES: &[Alias] =
    &[("momentum", &["sgd"]), ("gd", &["sgd"]), ("gradient_descent", &["sgd"])];
const DECAY_ALIASES: &[Alias] =
    &[("none", &["constant"]), ("cosine_annealing", &["cosine"]), ("cos", &["cosine"])];
const SAMPLING_ALIASES: &[Alias] =
    &[("on_policy", &["online"]), ("off_policy", &["offline"]), ("proposal", &["offline"])];
const PARTITION_ALIASES: &[Alias] =
    &[("moving_average", &["running"]), ("all", &["running"]), ("batch", &["step"])];
const BASELINE_ALIASES: &[Alias] = &[
    ("loo", &["leave-one-out"]),
    ("rloo", &["leave-one-out"]),
    ("mean", &["leave-one-out"]),
    ("no", &["none"]),
];
const METRIC_ALIASES: &[Alias] = &[
    ("kl", &["kl_target_policy", "kl_policy_target"]),
    ("forward_kl", &["kl_target_policy"]),
    ("reverse_kl", &["kl_policy_target"]),
    ("tv", &["tv_target_policy"]),
    ("total_variation", &["tv_target_policy"]),
    ("js", &["js_target_policy"]),
    ("jsd", &["js_target_policy"]),
    ("loss", &["js_target_policy"]),
];

/// A whole number of things that fits into memory.
fn count(section: &Section<'_>, field: &'static str, default: usize) -> usize {
    section.integer(field, &COUNT).map_or(default, |count| count as usize)
}

/// Reads `[tune]`. A file that says nothing of tuning does not ask for hours of it.
pub(super) fn read_tune(top: &Section<'_>) -> TuneSpec {
    let read = top.table("tune", |_| Fields::of(TUNE), read_table);
    if top.may_have("tune") { read } else { TuneSpec { steps: 0, ..read } }
}

fn read_table(tune: &Section<'_>) -> TuneSpec {
    let decays = [("constant", Decay::Constant), ("linear", Decay::Linear), ("cosine", Decay::Cosine)];
    let partitions = [("running", Partition::Running), ("step", Partition::Step)];
    let baselines = [
        ("leave-one-out", Baseline::LeaveOneOut),
        ("none", Baseline::None),
        ("forward-kl", Baseline::ForwardKl),
    ];
    let samples_per_step = tune.integer("samples_per_step", &SAMPLES);
    TuneSpec {
        divergence: read_divergence(tune, "divergence").unwrap_or(FDivergence::JensenShannon),
        steps: tune.integer("steps", &STEPS).map_or(50, |steps| steps as usize),
        samples_per_step: samples_per_step.map_or(256, |samples| samples as usize),
        contexts_per_step: count(tune, "contexts_per_step", 1),
        learning_rate: tune.number("learning_rate", &POSITIVE).unwrap_or(1e-4),
        warmup_steps: tune.integer("warmup_steps", &WHOLE).unwrap_or(0) as usize,
        decay: tune.choice("decay", &decays, DECAY_ALIASES).unwrap_or_default(),
        floor: tune.number("floor", &CLOSED_SHARE).unwrap_or(0.0),
        optimizer: tune.table("optimizer", optimizer_fields, read_optimizer),
        max_gradient_norm: tune.number("max_gradient_norm", &POSITIVE),
        micro_batch: count(tune, "micro_batch", 64),
        micro_batch_tokens: tune.integer("micro_batch_tokens", &COUNT).map(|tokens| tokens as usize),
        sampling: tune.table("sampling", sampling_fields, read_sampling),
        partition: tune.choice("partition", &partitions, PARTITION_ALIASES).unwrap_or(Partition::Running),
        baseline: tune.choice("baseline", &baselines, BASELINE_ALIASES).unwrap_or(Baseline::LeaveOneOut),
        epochs: count(tune, "epochs", 1),
        replay: tune.integer("replay", &KEPT_STEPS).unwrap_or(0) as usize,
        max_importance_ratio: tune.number("max_importance_ratio", &POSITIVE),
        max_pseudo_reward: tune.number("max_pseudo_reward", &POSITIVE),
        max_steps_without_success: count(tune, "max_steps_without_success", 10),
        metrics_every: count(tune, "metrics_every", 1),
        validation: tune.has("validation").then(|| {
            tune.table(
                "validation",
                |_| Fields::of(VALIDATION),
                |validation| Validation {
                    every: count(validation, "every", 10) as u64,
                    samples: validation.integer("samples", &SAMPLES).map_or(64, |samples| samples as usize),
                },
            )
        }),
        early_stopping: tune
            .has("early_stopping")
            .then(|| tune.table("early_stopping", |_| Fields::of(EARLY_STOPPING), read_early_stopping)),
        adapter: tune.has("adapter").then(|| tune.table("adapter", |_| Fields::of(ADAPTER), read_adapter)),
    }
}

fn optimizer_fields(table: &DeTable<'_>) -> Fields {
    Fields::by_kind(&["kind"], &OPTIMIZERS, Some("adam"), table)
}

fn sampling_fields(table: &DeTable<'_>) -> Fields {
    Fields::by_kind(&["kind"], &SAMPLING, Some("online"), table)
}

fn read_divergence(section: &Section<'_>, field: &'static str) -> Option<FDivergence> {
    let name = section.string(field, &SOME_TEXT)?;
    find_divergence(&name).map_err(|(problem, allowed)| section.wrong(field, &problem, &allowed)).ok()
}

fn read_sampling(sampling: &Section<'_>) -> Sampling {
    let kinds = SAMPLING.map(|(name, _)| (name, name));
    if sampling.choice("kind", &kinds, SAMPLING_ALIASES) != Some("offline") {
        return Sampling::Online;
    }
    Sampling::Offline {
        metric: read_divergence(sampling, "metric").unwrap_or(FDivergence::KlForward),
        z: sampling.number("z", &NOT_NEGATIVE).unwrap_or(1.645),
        every: count(sampling, "every", 1) as u64,
    }
}

fn read_early_stopping(stopping: &Section<'_>) -> EarlyStopping {
    let metrics = METRICS.map(|name| (name, name));
    EarlyStopping {
        metric: stopping.choice("metric", &metrics, METRIC_ALIASES).unwrap_or("js_target_policy").into(),
        patience: count(stopping, "patience", 10) as u64,
        min_delta: stopping.number("min_delta", &NOT_NEGATIVE).unwrap_or(0.0),
        direction: None,
    }
}

fn read_optimizer(optimizer: &Section<'_>) -> Optimizer {
    let kinds = OPTIMIZERS.map(|(name, _)| (name, name));
    let kind = optimizer.choice("kind", &kinds, OPTIMIZER_ALIASES);
    let weight_decay = optimizer.number("weight_decay", &NOT_NEGATIVE).unwrap_or(0.0);
    if kind == Some("sgd") {
        let momentum = optimizer.number("momentum", &SHARE).unwrap_or(0.0);
        return Optimizer::Sgd { momentum, weight_decay };
    }
    let default = Adam::default();
    let adam = Adam {
        beta1: optimizer.number("beta1", &SHARE).unwrap_or(default.beta1),
        beta2: optimizer.number("beta2", &SHARE).unwrap_or(default.beta2),
        epsilon: optimizer.number("epsilon", &POSITIVE).unwrap_or(default.epsilon),
        weight_decay,
    };
    if kind == Some("adamw") { Optimizer::AdamW(adam) } else { Optimizer::Adam(adam) }
}

/// Reads an adapter. Module names are checked when the model is loaded, which is before anything is computed.
fn read_adapter(adapter: &Section<'_>) -> AdapterSpec {
    AdapterSpec {
        rank: adapter.integer("rank", &RANK).map_or(8, |rank| rank as usize),
        alpha: adapter.number("alpha", &POSITIVE).unwrap_or(16.0),
        target_modules: adapter
            .strings("target_modules", &TEXTS)
            .unwrap_or_else(|| vec!["all-linear".to_owned()]),
    }
}

pub(super) fn read_checkpoints(checkpoints: &Section<'_>) -> CheckpointSpec {
    CheckpointSpec {
        every: count(checkpoints, "every", 25),
        keep: count(checkpoints, "keep", 2),
        best: checkpoints.choice("best", &METRICS.map(|name| (name, name)), METRIC_ALIASES),
    }
}
