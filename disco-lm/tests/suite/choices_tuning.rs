//! The policy over listed choices: tuning that is exact.

use std::collections::BTreeMap;

use disco_core::{Contexts, Distribution, Scorer, scorer};
use disco_lm::{ChoicePolicy, Choices, Completion, Decoding, LmPolicy, Lora};
use disco_tuner::{Checkpoints, InMemory, Optimizer, Problem, Sampling, Tuner, TunerConfig};

use crate::{
    choices::{CONTEXT, embedded},
    choices_gradient::{contexts, plain, policy, value, weighted},
    common::assert_close,
};

/// The shares that a survey might have: decreasing in the order of the list.
fn survey(policy: &ChoicePolicy<String>) -> impl Scorer<String, Completion> + use<> {
    let lists: BTreeMap<String, Vec<Completion>> = contexts()
        .into_iter()
        .map(|context| (context.clone(), policy.space(&context).expect("a space").outcomes().to_vec()))
        .collect();
    scorer(move |context: &String, answer: &Completion| {
        let at = lists[context].iter().position(|other| other == answer).expect("a choice");
        -0.7 * at as f64 + 5.0
    })
}

/// `f(pi/p)` of `D_f(pi||p) = sum_x p f(pi/p)`, by `ln(pi/p)`.
type Generator = fn(f64) -> f64;

/// KL(p||pi), KL(pi||p), and Jensen-Shannon as the mean of both KL divergences from the mixture.
const DIVERGENCES: [(&str, Generator); 3] = [
    ("forward-kl", |l| -l),
    ("reverse-kl", |l| l.exp() * l),
    ("js", |l| 0.5 * (-((1.0 + l.exp()) / 2.0).ln() + l.exp() * (l - ((1.0 + l.exp()) / 2.0).ln()))),
];

/// The divergence of the policy from the target, summed over the contexts.
fn distance(
    generator: Generator,
    policy: &ChoicePolicy<String>,
    target: &impl Scorer<String, Completion>,
) -> f64 {
    let of = |context: String| {
        let space = policy.space(&context).expect("a space");
        let target = space.normalise(target, &context).expect("a target");
        let log_policy = space.log_scores(policy, &context).expect("scores");
        let ratios = log_policy.iter().zip(target.as_log_probs()).map(|(policy, target)| policy - target);
        target.probabilities().iter().zip(ratios).map(|(p, ratio)| p * generator(ratio)).sum::<f64>()
    };
    contexts().into_iter().map(of).sum()
}

fn config() -> TunerConfig {
    TunerConfig {
        steps: 24,
        contexts_per_step: 2,
        learning_rate: 4e-3,
        optimizer: plain(),
        sampling: Sampling::Enumerated,
        metrics_every: 0,
        divergence: "forward-kl".parse().expect("a divergence"),
        ..TunerConfig::default()
    }
}

#[test]
fn tuning_by_all_choices_reaches_the_target() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    let mut tuned = policy(true);
    let (target, spaces) = (survey(&tuned), tuned.clone());
    let before = distance(DIVERGENCES[0].1, &tuned, &target);
    let problem = Problem::new(&contexts, &target).with_space(move |context| Ok(spaces.space(context)?));
    let tuner = Tuner::new(TunerConfig { metrics_every: 24, ..config() }).expect("settings");
    let mut observed = InMemory::default();
    tuner.run(&mut tuned, &problem, &mut observed).expect("a run");
    let after = distance(DIVERGENCES[0].1, &tuned, &target);
    assert!(before > 1.0 && after < 1e-6, "{before} before, {after} after");
    let report = observed.reports().last().expect("a report");
    assert_eq!((report.samples, report.metrics["kl_target_policy"].std_error), (7, Some(0.0)));
}

/// Descent with a small step follows the exact gradient of each divergence: it falls at every step.
#[test]
fn the_divergence_falls_at_every_small_step() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    for ((divergence, generator), learning_rate) in DIVERGENCES.into_iter().zip([1e-3, 1e-3, 4e-3]) {
        let mut tuned = policy(true);
        let (target, spaces) = (survey(&tuned), tuned.clone());
        let problem = Problem::new(&contexts, &target).with_space(move |context| Ok(spaces.space(context)?));
        let parsed = divergence.parse().expect("a divergence");
        let config = TunerConfig { steps: 8, learning_rate, divergence: parsed, ..config() };
        let tuner = Tuner::new(config).expect("settings");
        let mut run = tuner.start(&mut tuned, &problem).expect("a run");
        let mut last = distance(generator, run.policy(), &target);
        while run.step().expect("a step").is_some() {
            let now = distance(generator, run.policy(), &target);
            assert!(now < last, "{divergence}, step {}: {last}, then {now}", run.done());
            last = now;
        }
    }
}

/// A hard constraint, an adapter, and a decoding that excludes a choice.
#[test]
fn adapters_are_tuned_away_from_a_forbidden_choice() {
    let contexts = Contexts::single(CONTEXT.to_string());
    let lora = Lora { rank: 4, target_modules: vec!["q_proj".into(), "v_proj".into()], ..Lora::default() };
    let base = embedded(Decoding { top_k: 300, ..Decoding::default() });
    let choices = Choices::new([" the", " not", " a", "\u{e9}"]).expect("choices").without_end_token();
    let mut tuned =
        ChoicePolicy::new(LmPolicy::lora(&base, &lora).expect("an adapter"), choices).expect("a policy");
    let space = tuned.space(&CONTEXT.to_string()).expect("a space");
    let answers: Vec<&Completion> = space.outcomes().iter().collect();
    let log_probs =
        |tuned: &ChoicePolicy<String>| tuned.log_probs(&CONTEXT.to_string(), &answers).expect("scores");
    assert_eq!(log_probs(&tuned)[3], f64::NEG_INFINITY, "not among the 300 most probable tokens");
    let target = scorer(|_: &String, answer: &Completion| match answer.text.as_str() {
        " not" => f64::NEG_INFINITY,
        " the" => 1.0,
        _ => 0.0,
    });
    let known = space.clone();
    let problem = Problem::new(&contexts, &target).with_space(move |_| Ok(known.clone()));
    for metrics_every in [0, 1] {
        let config = TunerConfig {
            steps: 30,
            learning_rate: 0.02,
            optimizer: Optimizer::default(),
            divergence: "js".parse().expect("a divergence"),
            metrics_every,
            ..config()
        };
        Tuner::new(config).expect("settings").run(&mut tuned, &problem, &mut ()).expect("a run");
    }
    let found: Vec<f64> = log_probs(&tuned).iter().map(|log_prob| log_prob.exp()).collect();
    // The target gives the excluded choice a probability that the policy cannot have.
    let share = 1f64.exp() / (1f64.exp() + 1.0);
    assert_close("shares", &[found[0], found[1], found[3]], &[share, 0.0, 0.0], 0.02);
}

/// Steps from samples have the same policy, with far more samples than choices.
#[test]
fn tuning_by_samples_comes_near_the_target_too() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    let mut tuned = policy(true);
    let target = survey(&tuned);
    let problem = Problem::new(&contexts, &target);
    let before = distance(DIVERGENCES[0].1, &tuned, &target);
    let config = TunerConfig { steps: 10, samples_per_step: 2000, sampling: Sampling::Online, ..config() };
    Tuner::new(config).expect("settings").run(&mut tuned, &problem, &mut ()).expect("a run");
    let after = distance(DIVERGENCES[0].1, &tuned, &target);
    assert!(after < before / 20.0, "{before} before, {after} after");
}

#[test]
fn an_interrupted_run_goes_on_to_the_bit() {
    let contexts = Contexts::new(contexts()).expect("contexts");
    let target = survey(&policy(true));
    let bits = |tuned: &ChoicePolicy<String>| -> Vec<u64> {
        let items = weighted(tuned);
        items.iter().map(|item| value(tuned, std::slice::from_ref(item)).to_bits()).collect()
    };
    let run = |steps: u64, folder: &std::path::Path| {
        let mut tuned = policy(true);
        let spaces = tuned.clone();
        let problem = Problem::new(&contexts, &target).with_space(move |context| Ok(spaces.space(context)?));
        let tuner = Tuner::new(TunerConfig { steps, ..config() }).expect("settings");
        let checkpoints = Checkpoints::new(folder, 2, 1).expect("checkpoints");
        let run = match checkpoints.steps().expect("steps").is_empty() {
            true => tuner.start(&mut tuned, &problem).expect("a run").with_checkpoints(&checkpoints),
            false => tuner.resume(&mut tuned, &problem, &checkpoints),
        };
        run.expect("a run").drive(&mut ()).expect("driven");
        bits(&tuned)
    };
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let expected = run(6, whole.path());
    run(2, parts.path());
    assert_eq!(run(6, parts.path()), expected);
}
