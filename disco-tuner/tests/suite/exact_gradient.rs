//! The gradient that the tuner hands to a policy is the gradient of the divergence: exactly, if every outcome occurs
//! among the samples as often as its probability says. For samples that are drawn see `sampled_gradient.rs`.

use disco_divergence::FDivergence;
use disco_tuner::{Baseline, Problem, Sampling, Tuner, TunerConfig};

use crate::common::{
    scripted::{Scripted, Table},
    small::{config, contexts, divergences, expected, first, is_soft, offline, second, target, third},
};

/// Issue 4's bound for gradients against finite differences.
const TOLERANCE: f64 = 1e-6;

/// The gradients of all updates of a run whose samples are stratified.
fn gradients(config: TunerConfig, script: Vec<Table>, hard: bool) -> Vec<Vec<f64>> {
    let (contexts, target) = (contexts(), target(hard));
    let mut policy = Scripted::new(script, third(), true);
    Tuner::new(config).unwrap().run(&mut policy, &Problem::new(&contexts, &target), &mut ()).unwrap();
    policy.gradients
}

#[track_caller]
fn check(what: &str, found: &[f64], expected: &[f64]) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let gap = (found - expected).abs();
        assert!(
            gap <= TOLERANCE * expected.abs().max(1.0),
            "{what}, parameter {at}: {found}, not {expected}"
        );
    }
}

#[test]
fn online_and_offline_gradients_are_those_of_the_divergence() {
    for divergence in divergences() {
        for hard in [false, true].into_iter().filter(|hard| !hard || is_soft(&divergence)) {
            let expected = expected(divergence, &first(), hard);
            for sampling in [Sampling::Online, offline()] {
                let what = format!("{divergence}, hard: {hard}, {sampling:?}");
                let config = TunerConfig { sampling, ..config(divergence) };
                check(&what, &gradients(config, vec![first()], hard)[0], &expected);
            }
        }
    }
}

#[test]
fn the_exact_baseline_of_forward_kl_changes_no_expectation() {
    let expected = expected(FDivergence::KlForward, &first(), true);
    for sampling in [Sampling::Online, offline()] {
        let config =
            TunerConfig { sampling, baseline: Baseline::ForwardKl, ..config(FDivergence::KlForward) };
        check("forward KL", &gradients(config, vec![first()], true)[0], &expected);
    }
}

#[test]
fn replayed_samples_and_later_epochs_give_the_gradient_of_the_policy_as_it_is() {
    for divergence in divergences() {
        // Each update finds another policy than the one that drew the samples.
        let script = vec![first(), second(), third()];
        let expected: Vec<_> = script.iter().map(|policy| expected(divergence, policy, false)).collect();
        let replayed = TunerConfig { steps: 3, replay: 2, ..config(divergence) };
        let epochs = TunerConfig { epochs: 3, ..config(divergence) };
        for (what, config) in [("replayed", replayed), ("epochs", epochs)] {
            let found = gradients(config, script.clone(), false);
            assert_eq!(found.len(), 3);
            for (update, (found, expected)) in found.iter().zip(&expected).enumerate() {
                check(&format!("{divergence}, {what}, update {update}"), found, expected);
            }
        }
    }
}
