//! Language models for the pipeline.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use disco_lm::{
    Classifier, Completion, Decoding, Generation, LabelFeature, LanguageModel, LmPolicy, Lora, Overlong,
    Precision, RepetitionScope,
};

use crate::{
    Error, Result, RunRecord, Session,
    numbers::grouped,
    pretrain::embedded_model,
    record::ModelRecord,
    spec::{AdapterSpec, FeatureKind, LabelValue, ModelSource, Spec},
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
    let folder = match &spec.model.source {
        ModelSource::Embedded => embedded_model(),
        ModelSource::Folder(folder) => folder.clone(),
    };
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
    let decoding = Decoding {
        temperature: spec.model.temperature,
        top_k: spec.model.top_k.unwrap_or(0),
        top_p: spec.model.top_p.unwrap_or(1.0),
        min_p: spec.model.min_p.unwrap_or(0.0),
        typical_p: spec.model.typical_p.unwrap_or(1.0),
        repetition_penalty: spec.model.repetition_penalty,
        repetition_scope: match spec.model.penalize_context {
            true => RepetitionScope::All,
            false => RepetitionScope::New,
        },
        min_new_tokens: spec.model.min_new_tokens,
        forbidden_tokens: spec.model.forbidden_tokens.clone(),
    };
    let generation =
        Generation { max_new_tokens: spec.model.max_new_tokens, decoding, ..Generation::default() };
    let base = LanguageModel::load(folder, &spec.backend.device()?, generation)?;
    let tokens = base.tokens();
    let facts = [
        ("parameters", grouped(tokens.parameters() as u64)),
        ("vocabulary", grouped(tokens.vocabulary() as u64)),
    ];
    let name = match &spec.model.source {
        ModelSource::Embedded => "embedded".into(),
        ModelSource::Folder(folder) => folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
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

impl Judge for LabelFeature {
    fn judge(&self, texts: &[&str]) -> disco_core::Result<Vec<f64>> {
        Ok(self.of(texts)?)
    }
}

/// The classifiers of a spec. One that several features ask is loaded once.
fn judges(spec: &Spec) -> Result<Judges> {
    let device = spec.backend.device()?;
    let mut loaded: BTreeMap<(&Path, bool), Classifier> = BTreeMap::new();
    let mut judges = Judges::new();
    for feature in &spec.features {
        let FeatureKind::Classifier(asked) = &feature.kind else { continue };
        let overlong = if asked.truncate { Overlong::Truncate } else { Overlong::Refuse };
        let classifier = match loaded.entry((&asked.model, asked.truncate)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Classifier::load(&asked.model, &device, overlong)?),
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
