//! A tuning run of a language model that is interrupted and resumed ends with the same bits as an uninterrupted one.

use std::{collections::BTreeMap, fs, path::Path};

use disco_core::{Contexts, Distribution, Product, Scorer, scorer};
use disco_lm::{Completion, Generation, LanguageModel, LmPolicy, Lora, TokenModel, TokenPolicy};
use disco_tuner::{
    Checkpointed, Checkpoints, Decay, Error, InMemory, Optimizer, Policy, Problem, Sampling, Schedule, Tuner,
    TunerConfig,
};
use serde::{Serialize, de::DeserializeOwned};
use tempfile::TempDir;

use crate::common::{device, folder};

const STEPS: u64 = 6;

fn online() -> TunerConfig {
    TunerConfig {
        steps: STEPS,
        samples_per_step: 16,
        contexts_per_step: 2,
        learning_rate: 0.01,
        schedule: Schedule { decay: Decay::Linear, warmup_steps: 2, floor: 0.1 },
        max_gradient_norm: Some(1.0),
        metrics_every: 2,
        seed: 5,
        ..TunerConfig::f_cdpg("js".parse().expect("a divergence"))
    }
}

/// Offline sampling, whose proposal is replaced whenever the policy is nearer to the target, with replay and two epochs. The steps
/// are small enough for each to come nearer, and the samples many enough to detect it, whatever the rounding of the backend.
fn offline() -> TunerConfig {
    let sampling = Sampling::Offline { metric: "js".parse().expect("a divergence"), z: 0.0, every: 1 };
    TunerConfig { sampling, samples_per_step: 64, learning_rate: 0.001, replay: 1, epochs: 2, ..online() }
}

/// The files that a policy saves, byte by byte: parameters and optimizer state, with its count of steps.
fn saved(policy: &impl Checkpointed) -> BTreeMap<String, Vec<u8>> {
    let folder = TempDir::new().expect("a temporary folder");
    policy.save(folder.path()).expect("saved");
    let files = fs::read_dir(folder.path()).expect("a folder").map(|entry| entry.expect("an entry"));
    files
        .map(|file| {
            let name = file.file_name().into_string().expect("a name");
            (name, fs::read(file.path()).expect("a file"))
        })
        .collect()
}

/// A run that is abandoned after `done` steps; every second step writes a checkpoint.
fn left<C: Serialize, X: Serialize + DeserializeOwned>(
    tuner: &Tuner,
    problem: &Problem<'_, C, X>,
    mut policy: impl Policy<C, X> + Checkpointed,
    folder: &Path,
    done: u64,
) {
    let checkpoints = Checkpoints::new(folder, 2, 2).expect("a folder for checkpoints");
    let run = tuner.start(&mut policy, problem).expect("a run");
    let mut run = run.with_checkpoints(&checkpoints).expect("checkpoints");
    for _ in 0..done {
        run.step().expect("a step");
    }
}

/// Runs from `new` to the end, in one go and with a stop after each number of steps.
fn check<C: Serialize, X: Serialize + DeserializeOwned, P: Policy<C, X> + Checkpointed>(
    what: &str,
    config: TunerConfig,
    problem: &Problem<'_, C, X>,
    new: impl Fn() -> P,
    stops: impl IntoIterator<Item = u64>,
) {
    let tuner = Tuner::new(config).expect("settings");
    let (mut whole, mut observed) = (new(), InMemory::default());
    tuner.run(&mut whole, problem, &mut observed).expect("a whole run");
    let expected = saved(&whole);
    assert!(expected.len() == 2 && expected != saved(&new()), "{what}: the run changes the policy");
    let replaced: Vec<u64> = observed
        .reports()
        .iter()
        .filter(|report| report.proposal_replaced)
        .map(|report| report.step)
        .collect();
    let is_offline = matches!(tuner.config().sampling, Sampling::Offline { .. });
    assert_eq!(is_offline, replaced.iter().any(|step| *step < STEPS - 1), "{what}: replaced at {replaced:?}");

    for stop in stops {
        // The run creates the folder.
        let parent = TempDir::new().expect("a temporary folder");
        let folder = parent.path().join("not").join("there");
        left(&tuner, problem, new(), &folder, stop);
        let checkpoints = Checkpoints::new(&folder, 2, 2).expect("the folder again");
        let mut resumed = new();
        let run = tuner.resume(&mut resumed, problem, &checkpoints).expect("a run that goes on");
        assert_eq!(run.done(), stop - stop % 2, "{what}");
        run.drive(&mut ()).expect("the rest of the run");
        assert!(saved(&resumed) == expected, "{what}: stopped after step {stop}, other bits in the end");
    }
}

fn tiny() -> TokenModel {
    let generation = Generation { max_new_tokens: 6, ..Generation::default() };
    TokenModel::load(folder("llama-gqa-tied"), &device(), generation).expect("a golden model loads")
}

/// A target that prefers multiples of three, and excludes sequences that begin with 5.
fn wanted() -> impl Scorer<Vec<u32>, Vec<u32>> {
    scorer(|_: &Vec<u32>, tokens: &Vec<u32>| match tokens.first() {
        Some(5) => f64::NEG_INFINITY,
        _ => tokens.iter().filter(|token| token.is_multiple_of(3)).count() as f64,
    })
}

#[test]
fn a_token_model_goes_on_to_the_bit() {
    let (base, contexts) = (tiny(), Contexts::new(vec![vec![5, 6, 7], vec![8]]).expect("contexts"));
    let target = Product(wanted(), &base);
    let problem =
        Problem::new(&contexts, &target).with_base(&base).with_length(|tokens: &Vec<u32>| tokens.len());
    let lora = Lora { rank: 2, ..Lora::default() };
    for (name, config) in [("online", online()), ("offline", offline())] {
        let full = || TokenPolicy::new(base.clone());
        check(&format!("full, {name}"), config.clone(), &problem, full, 2..=STEPS);
        let adapter = || TokenPolicy::lora(&base, &lora).expect("an adapter");
        check(&format!("LoRA, {name}"), config, &problem, adapter, 2..=STEPS);
    }
}

/// The policy of a user, with a tokenizer and completions.
#[test]
fn a_language_model_goes_on_to_the_bit() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare");
    let generation = Generation { max_new_tokens: 6, ..Generation::default() };
    let base = LanguageModel::load(source, &device(), generation).expect("the embedded model loads");
    let contexts = Contexts::new(vec!["ROMEO:\n".to_string(), "KING:\n".to_string()]).expect("contexts");
    let king = scorer(|_: &String, completion: &Completion| f64::from(completion.text.contains("my")));
    let target = Product(king, &base);
    let problem = Problem::new(&contexts, &target);
    let lora = Lora { rank: 2, ..Lora::default() };
    check("full", online(), &problem, || LmPolicy::new(base.clone()), [3]);
    check("LoRA", offline(), &problem, || LmPolicy::lora(&base, &lora).expect("an adapter"), [3]);
}

/// The first epoch's update makes the parameters infinite. The second epoch detects it, and the step is undone.
#[test]
fn a_step_that_fails_in_a_later_epoch_leaves_the_parameters_as_they_were() {
    let (base, contexts) = (tiny(), Contexts::new(vec![vec![5, 6, 7], vec![8]]).expect("contexts"));
    let target = Product(wanted(), &base);
    let problem = Problem::new(&contexts, &target);
    let lora = Lora { rank: 2, ..Lora::default() };
    let wild = TunerConfig {
        // Infinite in f32.
        learning_rate: 1e300,
        optimizer: Optimizer::default(),
        schedule: Schedule::default(),
        epochs: 3,
        ..online()
    };
    let tuner = Tuner::new(wild).expect("settings");
    for new in [&(|| TokenPolicy::new(base.clone())) as &dyn Fn() -> TokenPolicy, &|| {
        TokenPolicy::lora(&base, &lora).expect("an adapter")
    }] {
        let mut policy = new();
        let error = tuner.run(&mut policy, &problem, &mut ()).expect_err("no usable number");
        assert!(matches!(error, Error::Context { step: 0, .. } | Error::Step { step: 0, .. }), "{error}");
        assert_eq!(saved(&policy), saved(&new()));
        // The policy also draws the same samples as before.
        let drawn =
            |policy: &TokenPolicy| policy.sample(&vec![8], &disco_core::Streams::new(1, 5)).expect("samples");
        assert_eq!(drawn(&policy), drawn(&new()));
    }
}
