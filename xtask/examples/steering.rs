//! A language model from features of one's own to samples of the target, with the libraries alone: measure, fit, tune, sample, reject.
//!
//! ```console
//! cargo run --package xtask --example steering                # the embedded model, some two minutes on two cores
//! cargo run --package xtask --example steering -- MODEL OUT   # a folder or GGUF file, and the folder for the tuned model
//! ```
//!
//! It is the demo (`xtask/specs/demo.toml`), whose words are those of the libraries: `mean` is [`Constraint::moment`], `always` is
//! [`Constraint::always`], `never` is [`Constraint::never`]. It stands in xtask, which depends on all crates, and uses nothing of xtask:
//! copy it into a crate of your own. `docs/using-the-crates.md` has the manifest for that.

use std::error::Error;

use disco_core::{Contexts, predicate};
use disco_ebm::{Constraint, FitConfig, Measured, features};
use disco_lm::{Backend, Completion, Generation, LanguageModel, LmPolicy, Precision};
use disco_qrs::{Budget, Goal, ProposalPool, RunConfig};
use disco_tuner::{Decay, InMemory, MicroBatch, Optimizer, Problem, Schedule, Tuner, TunerConfig};
use rand::{SeedableRng, rngs::StdRng};

const SEED: u64 = 1;

/// The features: any function of a context and a completion, which has a text, token ids, and says whether the model ended it.
fn constraints() -> Result<Vec<Constraint<String, Completion>>, disco_ebm::Error> {
    let words =
        |text: &str| text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase).collect::<Vec<_>>();
    let my =
        predicate("my", move |_: &String, x: &Completion| words(&x.text).iter().any(|word| word == "my"));
    let shouted = predicate("shouted", |_: &String, x: &Completion| {
        x.text.split_whitespace().any(|word| word.len() >= 4 && word.chars().all(|c| c.is_ascii_uppercase()))
    });
    let speaks = predicate("speaks", |_: &String, x: &Completion| !x.text.trim().is_empty());
    Ok(vec![Constraint::moment(my, 0.5)?, Constraint::never(shouted), Constraint::always(speaks)])
}

fn main() -> Result<(), Box<dyn Error>> {
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare");
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| embedded.to_owned());
    let generation = Generation { max_new_tokens: 20, ..Generation::default() };
    let base = LanguageModel::load(&folder, &Backend::Flex.device()?, generation)?;
    let contexts = Contexts::single("KING RICHARD III:\n".to_owned());

    // Measure: samples of the base, with the values of all features.
    let constraints = constraints()?;
    let observed = features(&constraints);
    let mut rng = StdRng::seed_from_u64(SEED);
    let measured = Measured::draw(&base, contexts.items().to_vec(), &observed, 4096, &mut rng)?;

    // Fit: the distribution nearest to the base that has what is asked.
    let fit = measured.fit(&constraints, &FitConfig::default())?;
    for found in &fit.report().constraints {
        println!(
            "fit      {}: {:.3} in the base, {:.3} in the target",
            found.feature, found.base.value, found.achieved.value
        );
    }
    for warning in fit.report().warnings() {
        println!("warning  {warning}");
    }
    let target = fit.target(base.clone());

    // Tune: a policy that begins as the base.
    let mut policy = LmPolicy::new(base.clone());
    let config = TunerConfig {
        steps: 90,
        seed: SEED,
        learning_rate: 0.02,
        optimizer: Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 },
        schedule: Schedule { warmup_steps: 2, decay: Decay::Linear, ..Schedule::default() },
        micro_batch: MicroBatch { samples: 256, tokens: None },
        max_gradient_norm: Some(1.0),
        ..TunerConfig::default()
    };
    let problem = Problem::new(&contexts, &target)
        .with_base(&base)
        .with_features(observed.iter().map(|feature| feature.as_ref()))?
        .with_length(|x: &Completion| x.tokens.len());
    let mut seen = InMemory::default();
    Tuner::new(config)?.run(&mut policy, &problem, &mut seen)?;
    if let Some(distance) = seen.last("js_target_policy") {
        println!("tune     Jensen-Shannon divergence from the target {:.4}", distance.value);
    }

    // Sample and reject: proposals of the policy, of which as many are accepted as asked for. The curve says at which fidelity.
    let config = RunConfig::new(SEED, Budget::proposals(3072));
    let pool = ProposalPool::draw(&policy, &target, contexts.items()[0].clone(), config)?;
    let choice = pool.ratios()?.choose(Goal::AcceptanceRate(0.5))?;
    let accepted = pool.accept(choice.log_beta)?;
    println!(
        "reject   {} of {} accepted, total variation from the target {:.3}",
        accepted.len(),
        pool.len(),
        choice.point.total_variation.value
    );

    let mean = |texts: &[&Completion], index: usize| -> Result<f64, Box<dyn Error>> {
        let values = observed[index].values(&contexts.items()[0], texts)?;
        let values: Vec<f64> = values.into_iter().collect::<Result<_, _>>()?;
        Ok(values.iter().sum::<f64>() / values.len() as f64)
    };
    let proposed: Vec<&Completion> = pool.values().iter().collect();
    let kept: Vec<&Completion> = accepted.iter().map(|draw| draw.value).collect();
    for (index, constraint) in constraints.iter().enumerate() {
        println!(
            "{:<8} tuned {:.3}, by QRS {:.3}",
            constraint.name(),
            mean(&proposed, index)?,
            mean(&kept, index)?
        );
    }
    if let Some(out) = arguments.next() {
        policy.model().save(out, Precision::F32)?;
    }
    Ok(())
}
