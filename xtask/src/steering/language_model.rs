//! A run on its language model. Compiled with the feature `lm` only.

use std::{
    collections::BTreeMap,
    fs,
    hash::Hash,
    path::{Path, PathBuf},
};

use disco_core::{Condition, Distribution, Product, Scorer};
use disco_lm::{
    ChoiceModel, ChoicePolicy, Choices, Completion, Grammar, GrammarFeature, LanguageModel, LmPolicy, Lora,
    Precision,
};
use disco_tuner::{Checkpointed, Policy};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    BaseModel, Loaded, ModelTask, Origin, RunControl, run_workflow,
    workflow::{WeightBytes, optimizer_states},
};
use crate::{
    Error, Result, StageError,
    contexts::TextContext,
    features::TextSample,
    models::{ModelKind, device, folder_of, generation, text_scorers},
    process::memory_limit,
    results::{ModelRecord, RunRecord, grouped},
    spec::{AdapterSpec, ChatSpec, ChoicesSpec, GrammarSpec, LongestToken, ModelSource, Spec},
};

/// The folder of a tuned adapter, beside that of the weights, into which the adapter is merged.
const ADAPTER: &str = "adapter";

type Listed = ChoiceModel<TextContext>;
type Choosing = ChoicePolicy<TextContext>;
/// The model as it is, on the texts of its grammar.
type OnGrammar = Product<LanguageModel, Condition<GrammarFeature>>;

/// Runs a spec on its language model; returns the folder of the results, and their record.
///
/// # Errors
/// As [`run_workflow`], and those of the model.
pub(crate) fn run(spec: &Spec, out: &Path, control: &RunControl) -> Result<(PathBuf, RunRecord)> {
    on_model(spec, None, WholeRun { spec, out, control })
}

/// A run from beginning to end.
struct WholeRun<'a> {
    spec: &'a Spec,
    out: &'a Path,
    control: &'a RunControl,
}

impl ModelTask for WholeRun<'_> {
    type Output = (PathBuf, RunRecord);

    fn run<X, B, Q, P>(
        self,
        weights: WeightBytes,
        load: impl FnOnce() -> Result<Loaded<B, Q, X, P>>,
        save: impl FnOnce(&P, &Path) -> Result<()>,
    ) -> Result<Self::Output>
    where
        X: TextSample + Eq + Hash + Serialize + DeserializeOwned,
        B: Scorer<TextContext, X>,
        Q: Distribution<TextContext, X>,
        P: Policy<TextContext, X> + Checkpointed,
    {
        run_workflow(self.spec, self.out, weights, self.control, load, save)
    }
}

/// Does work on the language model of a spec. The policy starts as the model of the spec, or as that of the source `policy`.
///
/// # Errors
/// Those of the work, and those of loading a model.
pub(crate) fn on_model<T: ModelTask>(
    spec: &Spec,
    policy: Option<&ModelSource>,
    task: T,
) -> Result<T::Output> {
    on_model_seen(spec, policy, &|_| {}, task)
}

/// As [`on_model`]; `see` gets the language model that the policy starts as, when it has been loaded.
///
/// # Errors
/// As [`on_model`].
pub(crate) fn on_model_seen<T: ModelTask>(
    spec: &Spec,
    policy: Option<&ModelSource>,
    see: &dyn Fn(&LanguageModel),
    task: T,
) -> Result<T::Output> {
    let folder = folder_of(&spec.model.source, ModelKind::LanguageModel)?;
    let weights = weight_bytes(&folder)?;
    check_memory(spec, weights.least)?;
    let start = policy.map(|source| folder_of(source, ModelKind::LanguageModel)).transpose()?;
    let files = Files { spec, folder: &folder, start: start.as_deref(), see };
    let save = |policy: &LmPolicy, to: &Path| save_model(&policy.model(), to);
    match (&spec.model.choices, &spec.model.grammar) {
        (Some(choices), _) => {
            let save = |policy: &Choosing, to: &Path| save_model(&policy.model(), to);
            task.run(weights, || files.listed(choices), save)
        }
        (None, Some(grammar)) => task.run(weights, || files.masked(grammar), save),
        (None, None) => task.run(weights, || files.plain(), save),
    }
}

/// The files of the base and of the policy.
#[derive(Clone, Copy)]
struct Files<'a> {
    spec: &'a Spec,
    folder: &'a Path,
    /// The model that the policy starts as, unless it is the base.
    start: Option<&'a Path>,
    see: &'a dyn Fn(&LanguageModel),
}

impl Files<'_> {
    /// The base as the spec decodes it, and the model that the policy starts as.
    fn load(self) -> Result<(LanguageModel, LanguageModel, ModelRecord)> {
        let (base, record) = load(self.spec, self.folder)?;
        let start = match self.start {
            Some(folder) => load(self.spec, folder)?.0,
            None => base.clone(),
        };
        (self.see)(&start);
        Ok((base, start, record))
    }

    fn plain(self) -> Result<Loaded<LanguageModel, LanguageModel, Completion, LmPolicy>> {
        let (base, start, record) = self.load()?;
        let policy = policy(self.spec, &start)?;
        Ok(Loaded { policy, base: BaseModel::new(base), scorers: text_scorers(self.spec)?, record })
    }

    /// A model that may give only the texts of a list.
    fn listed(self, choices: &ChoicesSpec) -> Result<Loaded<Listed, Listed, Completion, Choosing>> {
        let (base, start, record) = self.load()?;
        let choices = match choices.clone() {
            ChoicesSpec::Texts(texts) => Choices::new(texts)?,
            by_column => Choices::by_context(move |context: &TextContext| Ok(by_column.of(context)?)),
        };
        let choices = if self.spec.model.choices_end { choices } else { choices.without_end_token() };
        let policy = ChoicePolicy::new(policy(self.spec, &start)?, choices.clone())?;
        let base = ChoiceModel::new(base, choices)?;
        let contexts = &self.spec.contexts.items;
        let spaces = contexts.iter().map(|context| Ok(base.space(context)?)).collect::<Result<_>>()?;
        let base = BaseModel { origin: Origin::Listed(spaces), ..BaseModel::new(base) };
        Ok(Loaded { policy, base, scorers: text_scorers(self.spec)?, record })
    }

    /// A model under a grammar: the base is the model as it is, on the texts of the grammar; the masked model proposes them.
    fn masked(self, grammar: &GrammarSpec) -> Result<Loaded<OnGrammar, LanguageModel, Completion, LmPolicy>> {
        // A grammar that cannot be read is found before the model is loaded.
        let grammar = match grammar {
            GrammarSpec::JsonSchema(schema) => Grammar::json_schema(schema)?,
            GrammarSpec::Regex(expression) => Grammar::regex(expression)?,
            GrammarSpec::Lark(grammar) => Grammar::lark(grammar)?,
            GrammarSpec::Choices(texts) => Grammar::choices(texts)?,
        };
        let (plain, start, record) = self.load()?;
        let proposal = plain.under_grammar(&grammar)?;
        let accepted = proposal
            .grammar_condition()
            .ok_or_else(|| Error::answer("disco-lm", "a model under a grammar without a condition"))?;
        let start = match self.start {
            Some(_) => start.under_grammar(&grammar)?,
            None => proposal.clone(),
        };
        let policy = policy(self.spec, &start)?;
        let base = BaseModel { base: plain * accepted, proposal, origin: Origin::Proposal };
        Ok(Loaded { policy, base, scorers: text_scorers(self.spec)?, record })
    }
}

fn save_model(model: &LanguageModel, to: &Path) -> Result<()> {
    if model.tokens().lora().is_some() {
        model.save_adapter(to.with_file_name(ADAPTER))?;
    }
    Ok(model.save(to, Precision::F32)?)
}

/// Refuses a run that cannot have the memory for its weights: running out of it later ends the process without a word of ours.
fn check_memory(spec: &Spec, weights: u64) -> Result<()> {
    let Some((allowed, limit)) = memory_limit() else { return Ok(()) };
    // The base, and, if all weights are tuned, the policy with its gradient and the state of its optimizer.
    let is_base_alone = spec.tune.steps == 0 || spec.tune.adapter.is_some();
    let copies = if is_base_alone { 1 } else { 3 + optimizer_states(spec) };
    let needed = weights.saturating_mul(copies);
    if needed <= allowed {
        return Ok(());
    }
    Err(StageError::Memory { model: spec.model.source.name(), needed, limit, allowed }.into())
}

/// The model as the spec decodes it, with a description for the report.
fn load(spec: &Spec, folder: &Path) -> Result<(LanguageModel, ModelRecord)> {
    let base = LanguageModel::load(folder, &device(spec.backend)?, generation(&spec.model))?;
    let base = match &spec.contexts.chat {
        Some(ChatSpec { system }) => base.answering(system.as_deref())?,
        None => base,
    };
    if spec.needs_longest_token() {
        spec.check_reach(longest_token(&base)?)?;
    }
    let tokens = base.tokens();
    let facts = [
        ("parameters", grouped(tokens.parameters() as u64)),
        ("vocabulary", grouped(tokens.vocabulary() as u64)),
    ];
    let name = spec.model.source.name();
    let mut facts = BTreeMap::from(facts.map(|(name, value)| (name.to_owned(), value)));
    if let [first, others @ ..] = tokens.ignored_tensors() {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        facts.insert("ignored tensors".to_owned(), format!("{first}{more}"));
    }
    Ok((base, ModelRecord { name, facts }))
}

/// The policy that starts as `base`.
fn policy(spec: &Spec, base: &LanguageModel) -> Result<LmPolicy> {
    Ok(match &spec.tune.adapter {
        None => LmPolicy::new(base.clone()),
        Some(AdapterSpec { rank, alpha, target_modules }) => {
            let target_modules = target_modules.clone();
            LmPolicy::lora(base, &Lora { rank: *rank, alpha: *alpha, target_modules, seed: spec.seed })?
        }
    })
}

/// How long the text of one token is, at most. A token may lose the space before it where it is decoded alone.
fn longest_token(model: &LanguageModel) -> Result<LongestToken> {
    let mut longest = LongestToken { characters: 0, words: 0 };
    for id in 0..model.tokens().vocabulary() as u32 {
        let text = model.tokenizer().decode(&[id])?;
        longest.characters = longest.characters.max(text.chars().count() + 1);
        longest.words = longest.words.max(text.split_whitespace().count());
    }
    Ok(longest)
}

/// The size that a model's weights have in f32: that of a file in f32, and twice that of one in f16.
fn weight_bytes(folder: &Path) -> Result<WeightBytes> {
    if folder.is_file() {
        // A GGUF file holds at least 2.6 bits per weight, which become 32.
        let file = fs::metadata(folder).map_err(|cause| Error::read(folder, cause))?;
        return Ok(WeightBytes { least: file.len(), most: 13 * file.len() });
    }
    let entries = fs::read_dir(folder).map_err(|cause| Error::read(folder, cause))?;
    let mut bytes = 0;
    for entry in entries {
        let entry = entry.map_err(|cause| Error::read(folder, cause))?;
        if entry.path().extension().is_some_and(|extension| extension == "safetensors") {
            bytes += entry.metadata().map_err(|cause| Error::read(&entry.path(), cause))?.len();
        }
    }
    Ok(WeightBytes { least: bytes, most: 2 * bytes })
}
