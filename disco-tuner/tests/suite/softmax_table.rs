//! The softmax table is the oracle of the tuner, so it is checked against finite differences, against
//! PyTorch's optimizers, and for what a policy promises about saving and refusing.

use disco_core::{Distribution, Error, ScorerExt, Space, Streams, scorer};
use disco_tuner::{
    Adam, BatchItem, Checkpointed, Optimizer, OptimizerState, PendingGradient, Policy, SoftmaxTable, Tensors,
    Update, WeightDecay,
};
use ndarray::Array2;
use proptest::prelude::*;

fn table() -> SoftmaxTable<u8, u8> {
    let logits = Array2::from_shape_fn((2, 5), |(row, at)| ((row * 7 + at * 3) % 5) as f64 * 0.4 - 0.7);
    SoftmaxTable::new(Space::new([0, 1]).unwrap(), Space::new(0..5).unwrap(), logits).unwrap()
}

fn update(optimizer: Optimizer) -> Update {
    Update { optimizer, learning_rate: 0.1, max_gradient_norm: None }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn score_functions_equal_finite_differences(
        logits in prop::collection::vec(-3.0..3.0f64, 10),
        batch in prop::collection::vec((0u8..2, 0u8..5, -2.0..2.0f64), 1..8),
    ) {
        // Central differences at h = 1e-5 are exact to about h^2 and 1e-16 / h, for each term of the sum.
        let (h, tolerance) = (1e-5, 1e-8);
        let logits = Array2::from_shape_vec((2, 5), logits).unwrap();
        let (contexts, outcomes) = (Space::new([0u8, 1]).unwrap(), Space::new(0..5u8).unwrap());
        let of = |logits: Array2<f64>| SoftmaxTable::new(contexts.clone(), outcomes.clone(), logits).unwrap();
        let mut policy = of(logits.clone());
        let items: Vec<_> = batch.iter().map(|(context, sample, _)| BatchItem { context, sample }).collect();
        policy.accumulate(&items, &mut |_| Ok(batch.iter().map(|cell| cell.2).collect())).unwrap();
        let gradient = policy.pending().unwrap().remove("logits").unwrap();
        for (at, found) in gradient.into_iter().enumerate() {
            let moved = |by: f64| {
                let mut logits = logits.clone();
                logits[[at / 5, at % 5]] += by;
                let policy = of(logits);
                batch.iter().map(|(c, x, weight)| weight * policy.log_probs(c, &[x]).unwrap()[0]).sum::<f64>()
            };
            let expected = (moved(h) - moved(-h)) / (2.0 * h);
            prop_assert!((found - expected).abs() < tolerance, "parameter {at}: {found} is not {expected}");
        }
    }
}

#[test]
fn weigh_is_given_the_log_probabilities_of_the_batch() {
    let mut policy = table();
    let items = [BatchItem { context: &0, sample: &1 }, BatchItem { context: &1, sample: &2 }];
    let expected = [policy.rows()[0].as_log_probs()[1], policy.rows()[1].as_log_probs()[2]];
    let mut seen = Vec::new();
    policy
        .accumulate(&items, &mut |log_probs| {
            seen = log_probs.to_vec();
            Ok(vec![0.0; 2])
        })
        .unwrap();
    assert_eq!(seen, expected);
    let samples = policy.sample(&1, &Streams::new(3, 50)).unwrap();
    for sample in samples {
        assert_eq!(sample.log_prob, policy.log_probs(&1, &[&sample.value]).unwrap()[0]);
    }
}

/// Three steps from (1, -2) at learning rate 0.1, against the update rules as PyTorch documents them.
#[track_caller]
fn check_optimizer(optimizer: Optimizer, expected: impl Fn(&mut [f64; 2], [f64; 2], i32)) {
    let gradients = [[3.0, -0.5], [1.0, 0.25], [-2.0, 4.0]];
    let (mut found, mut wanted) = ([1.0, -2.0], [1.0, -2.0]);
    let mut state = OptimizerState::new(2);
    let update = update(optimizer);
    for (step, gradient) in gradients.into_iter().enumerate() {
        state.descend(&update, 1.0, WeightDecay::Apply, &mut found, &gradient).unwrap();
        expected(&mut wanted, gradient, step as i32 + 1);
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-14, "step {step}: {found} is not {wanted}");
        }
    }
}

#[test]
fn optimizers_follow_their_published_formulas() {
    use std::cell::RefCell;
    let adam = |l2: f64, shrink: f64| {
        let state = RefCell::new([[0.0; 2]; 2]);
        move |p: &mut [f64; 2], g: [f64; 2], t: i32| {
            let [m, v] = &mut *state.borrow_mut();
            for at in 0..2 {
                let slope = g[at] + l2 * p[at];
                m[at] = 0.9 * m[at] + 0.1 * slope;
                v[at] = 0.999 * v[at] + 0.001 * slope * slope;
                let (m, v) = (m[at] / (1.0 - 0.9f64.powi(t)), v[at] / (1.0 - 0.999f64.powi(t)));
                p[at] = p[at] * (1.0 - 0.1 * shrink) - 0.1 * m / (v.sqrt() + 1e-8);
            }
        }
    };
    let decayed = Adam { weight_decay: 0.3, ..Adam::default() };
    check_optimizer(Optimizer::Adam(Adam::default()), adam(0.0, 0.0));
    check_optimizer(Optimizer::Adam(decayed), adam(0.3, 0.0));
    check_optimizer(Optimizer::AdamW(decayed), adam(0.0, 0.3));
    let velocity = RefCell::new([0.0; 2]);
    check_optimizer(Optimizer::Sgd { momentum: 0.9, weight_decay: 0.2 }, |p, g, _| {
        let velocity = &mut *velocity.borrow_mut();
        for at in 0..2 {
            velocity[at] = 0.9 * velocity[at] + g[at] + 0.2 * p[at];
            p[at] -= 0.1 * velocity[at];
        }
    });
}

/// As networks do for norms and biases.
#[test]
fn weight_decay_can_be_skipped() {
    let decayed = Adam { weight_decay: 0.3, ..Adam::default() };
    let sgd = |weight_decay| Optimizer::Sgd { momentum: 0.9, weight_decay };
    for (with, without) in [
        (Optimizer::Adam(decayed), Optimizer::default()),
        (Optimizer::AdamW(decayed), Optimizer::AdamW(Adam::default())),
        (sgd(0.3), sgd(0.0)),
    ] {
        let moved = |optimizer: &Optimizer, decay: WeightDecay| {
            let (mut parameters, mut state) = ([1.0, -2.0], OptimizerState::new(2));
            for gradient in [[3.0, -0.5], [1.0, 0.25]] {
                state.descend(&update(optimizer.clone()), 1.0, decay, &mut parameters, &gradient).unwrap();
            }
            parameters
        };
        assert_eq!(moved(&with, WeightDecay::Skip), moved(&without, WeightDecay::Apply), "{with:?}");
        assert_ne!(moved(&with, WeightDecay::Apply), moved(&without, WeightDecay::Apply), "{with:?}");
    }
}

#[test]
fn clipping_scales_the_whole_gradient() {
    let mut policy = table();
    let gradient: Vec<f64> = (0..10).map(|at| at as f64).collect();
    let norm = gradient.iter().map(|value| value * value).sum::<f64>().sqrt();
    policy.replace_pending(Tensors::from([("logits".to_owned(), gradient.clone())])).unwrap();
    let before = policy.logits().to_owned();
    let sgd = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let update = Update { optimizer: sgd, learning_rate: 1.0, max_gradient_norm: Some(0.5) };
    let updated = policy.step(&update).unwrap();
    assert!((updated.gradient_norm - norm).abs() < 1e-12);
    let moved = (policy.logits().to_owned() - before).mapv(|value| value * value).sum().sqrt();
    assert!((moved - 0.5).abs() < 1e-6, "moved by {moved}");
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let mut policy = table();
    let update = update(Optimizer::default());
    let healthy = Tensors::from([("logits".to_owned(), vec![1.0; 10])]);
    let mut control = policy.clone();
    policy.replace_pending(Tensors::from([("logits".to_owned(), vec![f64::NAN; 10])])).unwrap();
    assert!(matches!(policy.step(&update), Err(Error::NotANumber { .. })));
    policy.clear();
    for policy in [&mut policy, &mut control] {
        policy.replace_pending(healthy.clone()).unwrap();
        policy.step(&update).unwrap();
    }
    assert_eq!(policy.logits(), control.logits());
}

#[test]
fn save_and_load_continue_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (mut policy, update) = (table(), update(Optimizer::default()));
    let push = |policy: &mut SoftmaxTable<u8, u8>, weight: f64| {
        let items = [BatchItem { context: &0, sample: &2 }, BatchItem { context: &1, sample: &3 }];
        policy.accumulate(&items, &mut |_| Ok(vec![weight, weight / 3.0])).unwrap();
        policy.step(&update).unwrap();
    };
    push(&mut policy, 0.37);
    policy.save(folder.path()).unwrap();
    let mut resumed = table();
    resumed.load(folder.path()).unwrap();
    push(&mut policy, -1.1);
    push(&mut resumed, -1.1);
    assert_eq!(policy.logits(), resumed.logits());

    let mut other = SoftmaxTable::uniform(Space::new([0u8]).unwrap(), Space::new(0u8..5).unwrap());
    let refused = other.load(folder.path()).unwrap_err().to_string();
    assert!(refused.contains("shape") && refused.contains("(2, 5)"), "{refused}");
    std::fs::write(folder.path().join("softmax_table.json"), "{\"version\":1").unwrap();
    let before = resumed.logits().to_owned();
    assert!(resumed.load(folder.path()).is_err());
    assert_eq!(resumed.logits(), before);
}

#[test]
fn bad_input_is_refused() {
    let (contexts, outcomes) = (Space::new([0u8]).unwrap(), Space::new(0u8..3).unwrap());
    let wrong_shape = SoftmaxTable::new(contexts.clone(), outcomes.clone(), Array2::zeros((3, 1)));
    assert!(wrong_shape.unwrap_err().to_string().contains("[1, 3]"));
    let forbidding =
        scorer(|_: &u8, x: &u8| if *x == 1 { f64::NEG_INFINITY } else { 0.0 }).power(2.0).unwrap();
    let excluded = SoftmaxTable::from_scorer(contexts.clone(), outcomes.clone(), &forbidding);
    assert!(matches!(excluded, Err(Error::NotANumber { index: 1, .. })));
    let mut policy = SoftmaxTable::uniform(contexts, outcomes);
    let ones = &mut |log_probs: &[f64]| Ok(vec![1.0; log_probs.len()]);
    assert!(policy.accumulate(&[BatchItem { context: &9, sample: &0 }], ones).is_err());
    assert!(policy.accumulate(&[BatchItem { context: &0, sample: &9 }], ones).is_err());
    assert!(policy.accumulate(&[BatchItem { context: &0, sample: &0 }], &mut |_| Ok(vec![])).is_err());
    assert!(policy.replace_pending(Tensors::from([("weights".to_owned(), vec![0.0; 3])])).is_err());
    assert!(policy.replace_pending(Tensors::from([("logits".to_owned(), vec![0.0; 2])])).is_err());
    let negative = Optimizer::Sgd { momentum: 1.0, weight_decay: 0.0 };
    assert!(negative.validate().unwrap_err().to_string().contains("momentum"));
    let flat = Optimizer::Adam(Adam { epsilon: 0.0, ..Adam::default() });
    assert!(flat.validate().unwrap_err().to_string().contains("epsilon"));
}
