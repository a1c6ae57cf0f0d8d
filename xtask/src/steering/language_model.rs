//! A run on its language model. Compiled with the feature `lm` only.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use disco_core::{Condition, Product};
use disco_lm::{
    ChoiceModel, ChoicePolicy, Choices, Completion, Grammar, GrammarFeature, LanguageModel, LmPolicy, Lora,
    Precision,
};

use super::{
    BaseModel, Loaded, Origin, RunControl, run_workflow,
    workflow::{WeightBytes, optimizer_states},
};
use crate::{
    Error, Result,
    contexts::TextContext,
    models::{ModelKind, device, folder_of, generation, text_scorers},
    process::memory_limit,
    results::{ModelRecord, RunRecord, grouped},
    spec::{AdapterSpec, ChatSpec, ChoicesSpec, GrammarSpec, LongestToken, Spec},
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
    let folder = folder_of(&spec.model.source, ModelKind::LanguageModel)?;
    let weights = weight_bytes(&folder)?;
    check_memory(spec, weights.least)?;
    let save = |policy: &LmPolicy, to: &Path| save_model(&policy.model(), to);
    match (&spec.model.choices, &spec.model.grammar) {
        (Some(choices), _) => {
            let save = |policy: &ChoicePolicy<TextContext>, to: &Path| save_model(&policy.model(), to);
            run_workflow(spec, out, weights, control, || listed(spec, &folder, choices), save)
        }
        (None, Some(grammar)) => {
            run_workflow(spec, out, weights, control, || masked(spec, &folder, grammar), save)
        }
        (None, None) => {
            let load = || {
                let (base, record) = load(spec, &folder)?;
                let policy = policy(spec, &base)?;
                Ok(Loaded { policy, base: BaseModel::new(base), scorers: text_scorers(spec)?, record })
            };
            run_workflow(spec, out, weights, control, load, save)
        }
    }
}

/// A model that may give only the texts of a list.
fn listed(
    spec: &Spec,
    folder: &Path,
    choices: &ChoicesSpec,
) -> Result<Loaded<Listed, Listed, Completion, Choosing>> {
    let (base, record) = load(spec, folder)?;
    let choices = match choices.clone() {
        ChoicesSpec::Texts(texts) => Choices::new(texts)?,
        by_column => Choices::by_context(move |context: &TextContext| Ok(by_column.of(context)?)),
    };
    let choices = if spec.model.choices_end { choices } else { choices.without_end_token() };
    let policy = ChoicePolicy::new(policy(spec, &base)?, choices.clone())?;
    let base = ChoiceModel::new(base, choices)?;
    let spaces = spec.contexts.items.iter().map(|context| Ok(base.space(context)?)).collect::<Result<_>>()?;
    let base = BaseModel { origin: Origin::Listed(spaces), ..BaseModel::new(base) };
    Ok(Loaded { policy, base, scorers: text_scorers(spec)?, record })
}

/// A model under a grammar: the base is the model as it is, on the texts of the grammar; the masked model proposes them.
fn masked(
    spec: &Spec,
    folder: &Path,
    grammar: &GrammarSpec,
) -> Result<Loaded<OnGrammar, LanguageModel, Completion, LmPolicy>> {
    // A grammar that cannot be read is found before the model is loaded.
    let grammar = match grammar {
        GrammarSpec::JsonSchema(schema) => Grammar::json_schema(schema)?,
        GrammarSpec::Regex(expression) => Grammar::regex(expression)?,
        GrammarSpec::Lark(grammar) => Grammar::lark(grammar)?,
        GrammarSpec::Choices(texts) => Grammar::choices(texts)?,
    };
    let (plain, record) = load(spec, folder)?;
    let proposal = plain.under_grammar(&grammar)?;
    let accepted = proposal
        .grammar_condition()
        .ok_or_else(|| Error::answer("disco-lm", "a model under a grammar without a condition"))?;
    let policy = policy(spec, &proposal)?;
    let base = BaseModel { base: plain * accepted, proposal, origin: Origin::Proposal };
    Ok(Loaded { policy, base, scorers: text_scorers(spec)?, record })
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
    Err(Error::Memory { model: spec.model.source.name(), needed, limit, allowed })
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
