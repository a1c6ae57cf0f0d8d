//! From TOML to a [`Spec`].

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use disco_core::Contexts;
use disco_divergence::FDivergence;
use disco_tuner::{Adam, Decay, Optimizer};

use super::{
    AdapterSpec, CheckpointSpec, FitSpec, ModelSource, ModelSpec, QrsGoal, SampleSpec, Spec, TuneSpec,
    allowed::{
        ANY_TEXT, CLOSED_SHARE, COUNT, FINITE, INSIDE_UNIT, NOT_NEGATIVE, POSITIVE, POSITIVE_SHARE, SAMPLES,
        SHARE, SOME_TEXT, TEXTS, TOKEN_IDS, WHOLE,
    },
    features::read_feature,
    reader::{Document, Section},
};
use crate::{Backend, SpecError};

/// Reads a spec. Errors call the file `name`; its paths are relative to `folder`.
///
/// # Errors
/// Every problem of the file at once, each with line, column, field and the allowed values.
pub fn read_spec(name: &str, text: &str, folder: &Path) -> Result<Spec, SpecError> {
    let spec = Document::read(name, text, |top| read_top(top, folder, name))?;
    Ok(spec.expect("a document that reports no problem has every section"))
}

/// Reads the top table; `None` only if a problem was reported.
fn read_top(top: &Section<'_>, folder: &Path, name: &str) -> Option<Spec> {
    let stem =
        Path::new(name).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let backends = Backend::value_variants().iter().map(|backend| (backend.feature(), *backend));
    let backends: Vec<_> = backends.collect();
    let title = top.string("title", &ANY_TEXT).unwrap_or(stem);
    let seed = top.integer("seed", &WHOLE).unwrap_or(0);
    let backend = top.choice("backend", &backends).unwrap_or_default();
    let model = required(top, "model", |model| read_model(model, folder));
    let contexts = required(top, "contexts", |contexts| read_contexts(contexts, folder));
    let features = top.tables("features", |section| read_feature(section, folder));
    if !top.has("features") {
        top.wrong_table("has no [[features]]", "at least one feature with a target");
    }
    let fit = top.table_or_empty("fit", |fit| FitSpec {
        samples: count(fit, "samples", 2048),
        held_out: fit.number("held_out", &SHARE).unwrap_or(0.25),
    });
    let tune = top.table_or_empty("tune", read_tune).flatten();
    let checkpoints = top.table_or_empty("checkpoints", read_checkpoints);
    let sample = top.table_or_empty("sample", read_sample);

    let features: Vec<_> = features.into_iter().collect::<Option<_>>()?;
    for (index, feature) in features.iter().enumerate() {
        if features[..index].iter().any(|other| other.name == feature.name) {
            top.wrong("features", &format!("has the name \"{}\" twice", feature.name), "names that differ");
        }
    }
    let contexts = contexts?;
    let tune = tune?;
    if tune.contexts_per_step > contexts.len() {
        top.wrong(
            "tune",
            &format!("has contexts_per_step = {}", tune.contexts_per_step),
            &format!("at most the number of contexts, {}", contexts.len()),
        );
    }
    Some(Spec {
        title,
        seed,
        backend,
        model: model?,
        contexts,
        features,
        fit: fit?,
        tune,
        checkpoints: checkpoints?,
        sample: sample?,
    })
}

/// The table `field`, with a problem if it is missing.
fn required<T>(
    top: &Section<'_>,
    field: &'static str,
    read: impl FnOnce(&Section<'_>) -> Option<T>,
) -> Option<T> {
    if !top.has(field) {
        top.wrong_table(&format!("has no [{field}]"), "a table of this name");
    }
    top.table(field, read).flatten()
}

/// A number of samples.
fn count(section: &Section<'_>, field: &'static str, default: usize) -> usize {
    section.integer(field, &SAMPLES).map_or(default, |count| count as usize)
}

fn read_model(model: &Section<'_>, folder: &Path) -> Option<ModelSpec> {
    if !model.has("source") {
        model.wrong_table("has no `source`", ModelSource::ALLOWED);
    }
    let source = model.string("source", &SOME_TEXT).and_then(|text| {
        let found = ModelSource::find(&text, folder);
        found.map_err(|problem| model.wrong("source", &problem, ModelSource::ALLOWED)).ok()
    });
    let optional = |field| model.integer(field, &COUNT).map(|count| count as usize);
    // A problem was reported if there is no source.
    let plain = ModelSpec::plain(source.clone().unwrap_or(ModelSource::Embedded));
    let spec = ModelSpec {
        max_new_tokens: optional("max_new_tokens").unwrap_or(plain.max_new_tokens),
        temperature: model.number("temperature", &POSITIVE).unwrap_or(plain.temperature),
        top_k: optional("top_k"),
        top_p: model.number("top_p", &POSITIVE_SHARE),
        min_p: model.number("min_p", &CLOSED_SHARE),
        typical_p: model.number("typical_p", &POSITIVE_SHARE),
        repetition_penalty: model.number("repetition_penalty", &POSITIVE).unwrap_or(plain.repetition_penalty),
        penalize_context: model.boolean("penalize_context").unwrap_or(plain.penalize_context),
        min_new_tokens: model.integer("min_new_tokens", &WHOLE).unwrap_or(0) as usize,
        forbidden_tokens: model.integers("forbidden_tokens", &TOKEN_IDS).unwrap_or_default(),
        ..plain
    };
    if spec.min_new_tokens > spec.max_new_tokens {
        let message = format!("is {}", spec.min_new_tokens);
        model.wrong("min_new_tokens", &message, &format!("at most max_new_tokens, {}", spec.max_new_tokens));
    }
    source.map(|_| spec)
}

fn read_contexts(contexts: &Section<'_>, folder: &Path) -> Option<Vec<String>> {
    let list = contexts.strings("list", &TEXTS);
    let file = contexts.string("file", &SOME_TEXT);
    match (contexts.has("list"), contexts.has("file")) {
        (true, false) => list,
        (false, true) => read_lines(contexts, &relative(folder, &file?)),
        _ => {
            contexts
                .wrong_table("must say where the contexts are", "either list = [\"...\"] or file = \"...\"");
            None
        }
    }
}

/// The lines of a file, each a context.
fn read_lines(contexts: &Section<'_>, path: &Path) -> Option<Vec<String>> {
    match Contexts::from_text_file(path) {
        Ok(read) => Some(read.items().to_vec()),
        Err(error) => {
            let allowed = "a text file (UTF-8) with one context a line, at least one";
            contexts.wrong("file", &format!("gives no contexts: {error}"), allowed);
            None
        }
    }
}

/// A path of the spec, seen from the folder of the spec.
fn relative(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}

fn read_tune(tune: &Section<'_>) -> Option<TuneSpec> {
    let divergence = tune.string("divergence", &SOME_TEXT).unwrap_or_else(|| "js".into());
    let divergence: Option<FDivergence> = match divergence.parse() {
        Ok(divergence) => Some(divergence),
        Err(error) => {
            tune.wrong("divergence", &format!("is \"{divergence}\""), &error.to_string());
            None
        }
    };
    let optimizer = tune.table("optimizer", read_optimizer);
    let adapter = tune.table("adapter", read_adapter);
    let positive = |field, default| tune.integer(field, &COUNT).map_or(default, |count| count as usize);
    let decays = [("constant", Decay::Constant), ("linear", Decay::Linear), ("cosine", Decay::Cosine)];
    let divergence = divergence?;
    let spec = TuneSpec {
        divergence,
        steps: positive("steps", 50),
        samples_per_step: count(tune, "samples_per_step", 256),
        contexts_per_step: positive("contexts_per_step", 1),
        learning_rate: tune.number("learning_rate", &POSITIVE).unwrap_or(1e-4),
        warmup_steps: tune.integer("warmup_steps", &WHOLE).unwrap_or(0) as usize,
        decay: tune.choice("decay", &decays).unwrap_or_default(),
        optimizer: optimizer.unwrap_or_default(),
        max_gradient_norm: tune.number("max_gradient_norm", &POSITIVE),
        micro_batch: positive("micro_batch", 64),
        adapter,
    };
    if spec.warmup_steps > spec.steps {
        let message = format!("is {}", spec.warmup_steps);
        tune.wrong("warmup_steps", &message, &format!("at most the number of steps, {}", spec.steps));
    }
    // A baseline is the mean over the other samples of the same context.
    if spec.samples_per_step < 2 * spec.contexts_per_step {
        let message = format!("is {}", spec.samples_per_step);
        tune.wrong("samples_per_step", &message, "at least two for each of `contexts_per_step`");
    }
    Some(spec)
}

fn read_optimizer(optimizer: &Section<'_>) -> Optimizer {
    const KINDS: [(&str, &str); 3] = [("adam", "adam"), ("adamw", "adamw"), ("sgd", "sgd")];
    let kind = optimizer.choice("kind", &KINDS);
    let weight_decay = optimizer.number("weight_decay", &NOT_NEGATIVE).unwrap_or(0.0);
    if kind == Some("sgd") {
        return Optimizer::Sgd {
            momentum: optimizer.number("momentum", &SHARE).unwrap_or(0.0),
            weight_decay,
        };
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
        rank: adapter.integer("rank", &COUNT).map_or(8, |rank| rank as usize),
        alpha: adapter.number("alpha", &POSITIVE).unwrap_or(16.0),
        target_modules: adapter
            .strings("target_modules", &TEXTS)
            .unwrap_or_else(|| vec!["all-linear".to_owned()]),
    }
}

fn read_checkpoints(checkpoints: &Section<'_>) -> CheckpointSpec {
    let metrics =
        ["kl_target_policy", "kl_policy_target", "tv_target_policy", "js_target_policy", "ess", "ess_share"];
    let positive =
        |field, default| checkpoints.integer(field, &COUNT).map_or(default, |count| count as usize);
    CheckpointSpec {
        every: positive("every", 25),
        keep: positive("keep", 2),
        best: checkpoints.choice("best", &metrics.map(|name| (name, name))),
    }
}

fn read_sample(sample: &Section<'_>) -> SampleSpec {
    let goals = ["acceptance_rate", "total_variation", "log_beta"];
    let given = goals.into_iter().filter(|goal| sample.has(goal)).count();
    if given > 1 {
        sample.wrong_table(
            "says more than once how to choose beta",
            &format!("at most one of: {}", goals.join(", ")),
        );
    }
    let qrs = sample
        .number("acceptance_rate", &POSITIVE_SHARE)
        .map(QrsGoal::AcceptanceRate)
        .or_else(|| sample.number("total_variation", &INSIDE_UNIT).map(QrsGoal::TotalVariation))
        .or_else(|| sample.number("log_beta", &FINITE).map(QrsGoal::LogBeta));
    SampleSpec {
        count: count(sample, "count", 1024),
        shown: sample.integer("shown", &WHOLE).unwrap_or(6) as usize,
        qrs: qrs.unwrap_or(QrsGoal::AcceptanceRate(0.5)),
    }
}
