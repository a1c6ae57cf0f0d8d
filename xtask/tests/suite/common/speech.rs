//! A text model whose texts can be listed.

use std::{fs, path::Path};

use disco_core::{Space, scorer};
use disco_tuner::{Checkpointed, Policy, SoftmaxTable};
use serde::{Deserialize, Serialize};
use xtask::{
    BaseModel, Error, Loaded, ModelRecord, ProgressTarget, RunControl, Spec, StartMode, TextContext,
    TextSample, TextScorers, WeightBytes, read_spec, run_workflow,
};

/// Three words; the text ended by itself if the last is a full stop.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Speech {
    words: [String; 3],
    text: String,
}

impl TextSample for Speech {
    fn text(&self) -> &str {
        &self.text
    }

    fn token_count(&self) -> usize {
        self.words.len()
    }

    fn finished(&self) -> bool {
        self.words[2] == "."
    }
}

/// The probabilities of a word; the same at each place.
const WORDS: [(&str, f64); 6] =
    [("crown", 0.2), ("king", 0.05), ("love", 0.2), ("night", 0.25), ("sword", 0.1), (".", 0.2)];

pub(crate) fn speeches() -> Space<Speech> {
    let mut speeches = Vec::new();
    for (first, _) in WORDS {
        for (second, _) in WORDS {
            for (third, _) in WORDS {
                speeches.push(Speech {
                    words: [first, second, third].map(String::from),
                    text: format!("{first} {second} {third}"),
                });
            }
        }
    }
    Space::new(speeches).unwrap()
}

/// In the context "calm" swords are a tenth as frequent (up to normalisation).
pub(crate) fn base(contexts: &[TextContext]) -> SoftmaxTable<TextContext, Speech> {
    let log_score = scorer(|context: &TextContext, speech: &Speech| {
        let word = |word: &String| {
            let (_, probability) = WORDS.iter().find(|(name, _)| name == word).unwrap();
            let calm = if context.text() == "calm" && word == "sword" { 0.1 } else { 1.0 };
            (calm * probability).ln()
        };
        speech.words.iter().map(word).sum()
    });
    SoftmaxTable::from_scorer(Space::new(contexts.to_vec()).unwrap(), speeches(), &log_score).unwrap()
}

const SPEC: &str = r#"
seed = 3
[model]
source = "embedded"
[contexts]
list = ["calm", "stormy"]
[[features]]
name = "king"
kind = "contains"
text = "king"
mean = 0.5
[fit]
samples = 1000
[tune]
steps = 1000
samples_per_step = 256
contexts_per_step = 2
learning_rate = 0.02
[checkpoints]
every = 7
keep = 2
best = "js_target_policy"
[sample]
count = 500
acceptance_rate = 0.6
"#;

/// A run with checkpoints, changed in these places.
pub(crate) fn speech_spec(changes: &[(&str, &str)]) -> Spec {
    let text = changes.iter().fold(SPEC.to_owned(), |text, (from, to)| text.replace(from, to));
    read_spec("test.toml", &text, Path::new("")).unwrap()
}

/// Runs a spec on this model.
pub(crate) fn run_speeches(spec: &Spec, out: &Path, control: &RunControl) -> xtask::Result<()> {
    let load = || {
        let policy = base(&spec.contexts.items);
        let record = ModelRecord { name: "speeches".into(), facts: Default::default() };
        Ok(Loaded { base: BaseModel::new(policy.freeze()?), policy, scorers: TextScorers::new(), record })
    };
    let save = |policy: &SoftmaxTable<TextContext, Speech>, to: &Path| {
        fs::create_dir(to).map_err(|source| Error::write(to, source))?;
        Ok(policy.save(to)?)
    };
    run_workflow(spec, out, WeightBytes::default(), control, load, save).map(drop)
}

/// A run without progress and interrupts.
pub(crate) fn control(start: StartMode) -> RunControl {
    RunControl { start, ..RunControl::new(ProgressTarget::Hidden) }
}
