//! Language models for the pipeline.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use disco_lm::{
    Classifier, Completion, Decoding, Generation, Hub, HubProgress, LabelFeature, LanguageModel, LmPolicy,
    Lora, Overlong, Precision, RepetitionScope,
};

use crate::{
    Error, Progress, ProgressTarget, Result, RunRecord, Session,
    numbers::grouped,
    pretrain::embedded_model,
    record::ModelRecord,
    spec::{AdapterSpec, FeatureKind, LabelValue, ModelSource, ModelSpec, Spec},
    text::{Judge, Judges, TextSample},
    workflow::{Loaded, run_workflow},
};

/// The folder of a tuned adapter, beside that of the weights, which have it merged.
const ADAPTER: &str = "adapter";

impl TextSample for Completion {
    fn text(&self) -> &str {
        &self.text
    }

    fn token_count(&self) -> usize {
        self.tokens.len()
    }

    fn finished(&self) -> bool {
        self.finished
    }
}

/// Runs a spec on its language model; gives where the results are, and what they say.
pub(crate) fn run(spec: &Spec, out: &Path, session: &Session) -> Result<(PathBuf, RunRecord)> {
    let folder = folder_of(&spec.model.source, Wanted::LanguageModel)?;
    let load = || load(spec, &folder);
    let save = |policy: &LmPolicy, to: &Path| {
        let model = policy.model();
        if model.tokens().lora().is_some() {
            model.save_adapter(&to.with_file_name(ADAPTER))?;
        }
        Ok(model.save(to, Precision::F32)?)
    };
    run_workflow(spec, out, weight_bytes(&folder)?, session, load, save)
}

fn load(spec: &Spec, folder: &Path) -> Result<Loaded<LanguageModel, LmPolicy>> {
    let base = LanguageModel::load(folder, &spec.backend.device()?, generation(&spec.model))?;
    let tokens = base.tokens();
    let facts = [
        ("parameters", grouped(tokens.parameters() as u64)),
        ("vocabulary", grouped(tokens.vocabulary() as u64)),
    ];
    let name = spec.model.source.name();
    let facts = BTreeMap::from(facts.map(|(name, value)| (name.to_owned(), value)));
    let policy = match &spec.tune.adapter {
        None => LmPolicy::new(base.clone()),
        Some(AdapterSpec { rank, alpha, target_modules }) => {
            let target_modules = target_modules.clone();
            LmPolicy::lora(&base, &Lora { rank: *rank, alpha: *alpha, target_modules, seed: spec.seed })?
        }
    };
    Ok(Loaded { policy, base, judges: judges(spec)?, record: ModelRecord { name, facts } })
}

/// What is wanted of a model's files.
#[derive(Clone, Copy)]
pub(crate) enum Wanted {
    LanguageModel,
    Classifier,
    Adapter,
}

/// The folder or file of a model; that of a hub is fetched if it is not in the cache.
pub(crate) fn folder_of(source: &ModelSource, wanted: Wanted) -> Result<PathBuf> {
    let id = match source {
        ModelSource::Embedded => return Ok(embedded_model()),
        ModelSource::Folder(folder) => return Ok(folder.clone()),
        ModelSource::Hub(id) => id.parse()?,
    };
    // A folder may have been meant.
    eprintln!("{:<16} there is nothing called {id} here: it is the hub's", "model");
    let hub = Hub::from_env()?.with_progress(fetching(ProgressTarget::detect()));
    Ok(match wanted {
        Wanted::LanguageModel => hub.language_model(&id),
        Wanted::Classifier => hub.classifier(&id),
        Wanted::Adapter => hub.adapter(&id),
    }?)
}

/// Tells of what is fetched, file by file.
fn fetching(target: ProgressTarget) -> impl Fn(&HubProgress<'_>) + Send + Sync {
    const UNIT: u64 = 1000;
    let shown: Mutex<Option<(String, u64, Progress)>> = Mutex::new(None);
    move |now| {
        // A panic elsewhere leaves a bar that can still be moved.
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref().is_none_or(|(file, ..)| file != now.file) {
            let progress = Progress::new(target, "fetch", "kB", now.size.div_ceil(UNIT) as usize);
            *shown = Some((now.file.into(), 0, progress));
        }
        if let Some((file, before, progress)) = &mut *shown {
            let received = now.received.div_ceil(UNIT);
            // A server that does not go on where it ended begins anew.
            progress.advance(received.saturating_sub(*before) as usize, || file.clone());
            *before = received.max(*before);
        }
    }
}

/// What a completion is, and how it is drawn.
pub(crate) fn generation(model: &ModelSpec) -> Generation {
    let decoding = Decoding {
        temperature: model.temperature,
        top_k: model.top_k.unwrap_or(0),
        top_p: model.top_p.unwrap_or(1.0),
        min_p: model.min_p.unwrap_or(0.0),
        typical_p: model.typical_p.unwrap_or(1.0),
        repetition_penalty: model.repetition_penalty,
        repetition_scope: if model.penalize_context { RepetitionScope::All } else { RepetitionScope::New },
        min_new_tokens: model.min_new_tokens,
        forbidden_tokens: model.forbidden_tokens.clone(),
    };
    Generation { max_new_tokens: model.max_new_tokens, decoding, ..Generation::default() }
}

impl Judge for LabelFeature {
    fn judge(&self, texts: &[&str]) -> disco_core::Result<Vec<f64>> {
        Ok(self.of(texts)?)
    }
}

/// The classifiers of a spec. One that several features ask is loaded once.
fn judges(spec: &Spec) -> Result<Judges> {
    let device = spec.backend.device()?;
    let mut loaded: BTreeMap<(&ModelSource, bool), Classifier> = BTreeMap::new();
    let mut judges = Judges::new();
    for feature in &spec.features {
        let FeatureKind::Classifier(asked) = &feature.kind else { continue };
        let overlong = if asked.truncate { Overlong::Truncate } else { Overlong::Refuse };
        let classifier = match loaded.entry((&asked.model, asked.truncate)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let folder = folder_of(&asked.model, Wanted::Classifier)?;
                place.insert(Classifier::load(&folder, &device, overlong)?)
            }
        };
        let value = match asked.value {
            LabelValue::Probability => disco_lm::LabelValue::Probability,
            LabelValue::LogProbability => disco_lm::LabelValue::LogProbability,
            LabelValue::Logit => disco_lm::LabelValue::Logit,
        };
        let judge = classifier.feature(&feature.name, &asked.label, value, asked.temperature)?;
        judges.insert(feature.name.clone(), Arc::new(judge));
    }
    Ok(judges)
}

/// The largest size that a model's weights have when they are saved in f32: twice that of a file in f16.
fn weight_bytes(folder: &Path) -> Result<u64> {
    if folder.is_file() {
        // A GGUF file holds at least 2.6 bits a weight, of which 32 become.
        let file = fs::metadata(folder).map_err(|source| Error::read(folder, source))?;
        return Ok(13 * file.len());
    }
    let entries = fs::read_dir(folder).map_err(|source| Error::read(folder, source))?;
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.map_err(|source| Error::read(folder, source))?;
        if entry.path().extension().is_some_and(|extension| extension == "safetensors") {
            bytes += entry.metadata().map_err(|source| Error::read(&entry.path(), source))?.len();
        }
    }
    Ok(2 * bytes)
}
