//! From TOML to a [`Spec`].
//!
//! A reader never ends at a problem: a wrong value has its default from then on, and the problem is in the document. A [`Spec`] with
//! such defaults never leaves this file.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{
    FitSpec, ModelSource, ModelSpec, QrsGoal, SampleSpec, Spec,
    allowed::{
        ANY_TEXT, CLOSED_SHARE, COUNT, INSIDE_UNIT, LOG_BETA, NOT_NEGATIVE, PENALTY, POSITIVE_SHARE, SAMPLES,
        SHARE, SOME_TEXT, TEMPERATURE, TOKEN_IDS, WHOLE,
    },
    changes::Change,
    checks::conflicts,
    contexts::{CONTEXT_FIELDS, read_contexts},
    document::Document,
    feature_tables::{feature_fields, read_feature},
    fields::Fields,
    log::{LOG, read_log},
    names::Alias,
    rewards::{REWARD_FIELDS, read_reward},
    sample_space::{read_choices, read_grammar},
    section::Section,
    server::read_server,
    tune_tables::{CHECKPOINTS, read_checkpoints, read_tune},
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
    "log",
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
    "dialect",
    "name",
    "connections",
    "timeout",
    "tries",
    "headers",
];
const FIT: &[&str] = &["samples", "held_out", "ridge"];
const GOALS: [&str; 3] = ["acceptance_rate", "total_variation", "log_beta"];
const SAMPLE: &[&str] =
    &["count", "accepted", "proposals", "shown", "acceptance_rate", "total_variation", "log_beta"];

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
        tune: read_tune(top),
        checkpoints: top.table("checkpoints", |_| Fields::of(CHECKPOINTS), read_checkpoints),
        log: top.table("log", |_| Fields::of(LOG), |log| read_log(log, folder, &title)),
        sample: top.table("sample", |_| Fields::of(SAMPLE), read_sample),
        title,
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
    let server = read_server(model, source.as_ref());
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
        server,
        ..plain
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
        accepted: sample.integer("accepted", &SAMPLES).map(|count| count as usize),
        proposals: sample.integer("proposals", &SAMPLES).map(|count| count as usize),
        shown: sample.integer("shown", &WHOLE).unwrap_or(30) as usize,
        qrs: goals.into_iter().flatten().next().unwrap_or(QrsGoal::AcceptanceRate(0.5)),
    }
}
