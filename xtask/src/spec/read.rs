//! From TOML to a [`Spec`].
//!
//! A reader never ends at a problem: a wrong value has its default from then on, and the problem is in the document. A [`Spec`] with
//! such defaults never leaves this file.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use disco_divergence::FDivergence;
use disco_tuner::{Adam, Decay, Optimizer};
use toml::de::DeTable;

use super::{
    AdapterSpec, CheckpointSpec, FitSpec, ModelSource, ModelSpec, QrsGoal, SampleSpec, Spec, TuneSpec,
    allowed::{
        ANY_TEXT, CLOSED_SHARE, COUNT, INSIDE_UNIT, LOG_BETA, NOT_NEGATIVE, PENALTY, POSITIVE,
        POSITIVE_SHARE, RANK, SAMPLES, SHARE, SOME_TEXT, STEPS, TEMPERATURE, TEXTS, TOKEN_IDS, WHOLE,
    },
    changes::Change,
    checks::conflicts,
    contexts::{CONTEXT_FIELDS, read_contexts},
    divergence::find_divergence,
    document::Document,
    feature_tables::{feature_fields, read_feature},
    fields::{Fields, Kind},
    names::Alias,
    rewards::{REWARD_FIELDS, read_reward},
    sample_space::{read_choices, read_grammar},
    section::Section,
    written::written,
};
use crate::{Backend, SpecError};

const TOP: &[&str] = &[
    "title",
    "seed",
    "backend",
    "folder",
    "model",
    "contexts",
    "features",
    "rewards",
    "fit",
    "tune",
    "checkpoints",
    "sample",
];
const MODEL: &[&str] = &[
    "source",
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "penalize_context",
    "min_new_tokens",
    "forbidden_tokens",
    "choices",
    "choices_end",
    "grammar",
];
const FIT: &[&str] = &["samples", "held_out", "ridge"];
const TUNE: &[&str] = &[
    "divergence",
    "optimizer",
    "adapter",
    "steps",
    "samples_per_step",
    "contexts_per_step",
    "learning_rate",
    "warmup_steps",
    "decay",
    "max_gradient_norm",
    "micro_batch",
];
const ADAPTER: &[&str] = &["rank", "alpha", "target_modules"];
const ADAM: &[&str] = &["beta1", "beta2", "epsilon", "weight_decay"];
const OPTIMIZERS: [Kind; 3] = [("adam", ADAM), ("adamw", ADAM), ("sgd", &["momentum", "weight_decay"])];
const CHECKPOINTS: &[&str] = &["every", "keep", "best"];
const GOALS: [&str; 3] = ["acceptance_rate", "total_variation", "log_beta"];
const SAMPLE: &[&str] = &["count", "shown", "acceptance_rate", "total_variation", "log_beta"];

const BACKEND_ALIASES: &[Alias] = &[
    ("cpu", &["flex"]),
    ("ndarray", &["flex"]),
    ("gpu", &["wgpu", "cuda"]),
    ("nvidia", &["cuda"]),
    ("torch", &["tch"]),
    ("libtorch", &["tch"]),
    ("pytorch", &["tch"]),
    ("webgpu", &["wgpu"]),
    ("metal", &["wgpu"]),
    ("mps", &["wgpu"]),
];
const OPTIMIZER_ALIASES: &[Alias] =
    &[("momentum", &["sgd"]), ("gd", &["sgd"]), ("gradient_descent", &["sgd"])];
const DECAY_ALIASES: &[Alias] =
    &[("none", &["constant"]), ("cosine_annealing", &["cosine"]), ("cos", &["cosine"])];
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

/// Reads a spec. Errors call the file `name`; its paths are relative to `folder`.
///
/// # Errors
/// Every problem of the file at once, each with line, column, field and the allowed values. One wrong value is one problem.
pub fn read_spec(name: &str, text: &str, folder: &Path) -> Result<Spec, SpecError> {
    read_spec_with(name, text, folder, &[])
}

/// As [`read_spec`], for a file in which the command line makes `changes`, which are checked as if they were in the file.
///
/// # Errors
/// As [`read_spec`]; a problem with a change names the argument.
pub(crate) fn read_spec_with(
    name: &str,
    text: &str,
    folder: &Path,
    changes: &[Change],
) -> Result<Spec, SpecError> {
    // Windows' editors put a byte order mark there.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let write = |title: &str, folder: &Path| written(text, changes, title, folder);
    Document::read(name, text, changes, Fields::of(TOP), |top| read_top(top, folder, name, write), conflicts)
}

/// Reads the whole file. It is written by `write`, with its title and folder.
fn read_top(top: &Section<'_>, folder: &Path, name: &str, write: impl FnOnce(&str, &Path) -> String) -> Spec {
    let own = read_folder(top, folder);
    let folder = own.as_deref().unwrap_or(folder);
    let stem =
        Path::new(name).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let backends: Vec<_> =
        Backend::value_variants().iter().map(|backend| (backend.feature(), *backend)).collect();
    for (field, message, allowed) in [
        ("model", "has no [model]", "a table of this name"),
        ("contexts", "has no [contexts]", "a table of this name"),
        ("features", "has no [[features]]", "at least one feature"),
    ] {
        if !top.may_have(field) {
            top.wrong_table(message, allowed, &[field]);
        }
    }
    let seed = top.integer("seed", &WHOLE).unwrap_or(0);
    let title = top.string("title", &ANY_TEXT).unwrap_or(stem);
    Spec {
        written: write(&title, folder),
        title,
        seed,
        backend: top.choice("backend", &backends, BACKEND_ALIASES).unwrap_or_default(),
        model: top.table("model", |_| Fields::of(MODEL), |model| read_model(model, folder)),
        contexts: top.table(
            "contexts",
            |_| Fields::of(CONTEXT_FIELDS),
            |own| read_contexts(own, folder, seed),
        ),
        features: top.tables("features", feature_fields, |section| read_feature(section, folder)),
        rewards: top.tables("rewards", |_| Fields::of(REWARD_FIELDS), read_reward),
        fit: top.table(
            "fit",
            |_| Fields::of(FIT),
            |fit| FitSpec {
                samples: samples(fit, "samples", 2048),
                held_out: fit.number("held_out", &SHARE).unwrap_or(0.25),
                ridge: fit.number("ridge", &NOT_NEGATIVE).unwrap_or(0.0),
            },
        ),
        tune: top.table(
            "tune",
            |_| Fields::of(TUNE),
            |tune| {
                let read = read_tune(tune);
                // A file that says nothing of tuning does not ask for hours of it.
                if top.may_have("tune") { read } else { TuneSpec { steps: 0, ..read } }
            },
        ),
        checkpoints: top.table("checkpoints", |_| Fields::of(CHECKPOINTS), read_checkpoints),
        sample: top.table("sample", |_| Fields::of(SAMPLE), read_sample),
    }
}

/// Reads the folder from which the file's relative paths are seen, if it is not the file's own.
fn read_folder(top: &Section<'_>, folder: &Path) -> Option<PathBuf> {
    let path = folder.join(top.string("folder", &SOME_TEXT)?);
    if !path.is_dir() {
        let message = format!("names no folder that is there: {}", path.display());
        top.wrong("folder", &message, "the folder from which relative paths of this file are seen");
        return None;
    }
    Some(path)
}

/// A number of samples.
fn samples(section: &Section<'_>, field: &'static str, default: usize) -> usize {
    section.integer(field, &SAMPLES).map_or(default, |count| count as usize)
}

/// A number of other things.
fn count(section: &Section<'_>, field: &'static str) -> Option<usize> {
    section.integer(field, &COUNT).map(|count| count as usize)
}

fn read_model(model: &Section<'_>, folder: &Path) -> ModelSpec {
    model.require("source", ModelSource::ALLOWED);
    let source = model.string("source", &SOME_TEXT).and_then(|text| {
        let found = ModelSource::find(&text, folder);
        found.map_err(|problem| model.wrong("source", &problem, ModelSource::ALLOWED)).ok()
    });
    let plain = ModelSpec::plain(source.unwrap_or(ModelSource::Embedded));
    ModelSpec {
        max_new_tokens: count(model, "max_new_tokens").unwrap_or(plain.max_new_tokens),
        temperature: model.number("temperature", &TEMPERATURE).unwrap_or(plain.temperature),
        top_k: count(model, "top_k"),
        top_p: model.number("top_p", &POSITIVE_SHARE),
        min_p: model.number("min_p", &CLOSED_SHARE),
        typical_p: model.number("typical_p", &POSITIVE_SHARE),
        repetition_penalty: model.number("repetition_penalty", &PENALTY).unwrap_or(plain.repetition_penalty),
        penalize_context: model.boolean("penalize_context").unwrap_or(plain.penalize_context),
        min_new_tokens: model.integer("min_new_tokens", &WHOLE).unwrap_or(0) as usize,
        forbidden_tokens: model.integers("forbidden_tokens", &TOKEN_IDS).unwrap_or_default(),
        choices: read_choices(model),
        choices_end: model.boolean("choices_end").unwrap_or(plain.choices_end),
        grammar: read_grammar(model, folder),
        ..plain
    }
}

fn read_tune(tune: &Section<'_>) -> TuneSpec {
    let decays = [("constant", Decay::Constant), ("linear", Decay::Linear), ("cosine", Decay::Cosine)];
    TuneSpec {
        divergence: read_divergence(tune).unwrap_or(FDivergence::JensenShannon),
        steps: tune.integer("steps", &STEPS).map_or(50, |steps| steps as usize),
        samples_per_step: samples(tune, "samples_per_step", 256),
        contexts_per_step: count(tune, "contexts_per_step").unwrap_or(1),
        learning_rate: tune.number("learning_rate", &POSITIVE).unwrap_or(1e-4),
        warmup_steps: tune.integer("warmup_steps", &WHOLE).unwrap_or(0) as usize,
        decay: tune.choice("decay", &decays, DECAY_ALIASES).unwrap_or_default(),
        optimizer: tune.table("optimizer", optimizer_fields, read_optimizer),
        max_gradient_norm: tune.number("max_gradient_norm", &POSITIVE),
        micro_batch: count(tune, "micro_batch").unwrap_or(64),
        adapter: tune.has("adapter").then(|| tune.table("adapter", |_| Fields::of(ADAPTER), read_adapter)),
    }
}

fn optimizer_fields(table: &DeTable<'_>) -> Fields {
    Fields::by_kind(&["kind"], &OPTIMIZERS, Some("adam"), table)
}

fn read_divergence(tune: &Section<'_>) -> Option<FDivergence> {
    let name = tune.string("divergence", &SOME_TEXT)?;
    find_divergence(&name).map_err(|(problem, allowed)| tune.wrong("divergence", &problem, &allowed)).ok()
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

fn read_checkpoints(checkpoints: &Section<'_>) -> CheckpointSpec {
    let metrics =
        ["kl_target_policy", "kl_policy_target", "tv_target_policy", "js_target_policy", "ess", "ess_share"];
    CheckpointSpec {
        every: count(checkpoints, "every").unwrap_or(25),
        keep: count(checkpoints, "keep").unwrap_or(2),
        best: checkpoints.choice("best", &metrics.map(|name| (name, name)), METRIC_ALIASES),
    }
}

fn read_sample(sample: &Section<'_>) -> SampleSpec {
    let given = GOALS.into_iter().filter(|goal| sample.has(goal)).count();
    if given > 1 {
        let allowed = format!("at most one of: {}", GOALS.join(", "));
        sample.wrong_table("says more than once how to choose beta", &allowed, &GOALS);
    }
    let goals = [
        sample.number("acceptance_rate", &POSITIVE_SHARE).map(QrsGoal::AcceptanceRate),
        sample.number("total_variation", &INSIDE_UNIT).map(QrsGoal::TotalVariation),
        sample.number("log_beta", &LOG_BETA).map(QrsGoal::LogBeta),
    ];
    SampleSpec {
        count: samples(sample, "count", 1024),
        shown: sample.integer("shown", &WHOLE).unwrap_or(6) as usize,
        qrs: goals.into_iter().flatten().next().unwrap_or(QrsGoal::AcceptanceRate(0.5)),
    }
}
