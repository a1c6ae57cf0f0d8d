//! Statistical: wherever samples come from (the base, another proposal, another engine, weighted contexts),
//! the fit is that of exact sums, within four standard errors (each missed with probability 6e-5; fixed
//! seeds).

use std::io::Write;

use disco_core::{
    Contexts, Distribution, Empirical, Estimate, Mixture, PerContext, Space, StreamRng, Streams, Table,
    feature, predicate,
};
use disco_ebm::{
    Constraint, ContextErrors, ContextSamples, FitConfig, FitReport, HeldOut, Measured, features,
};
use rand::SeedableRng;

const SAMPLES: usize = 20_000;

fn space() -> Space<u32> {
    Space::new(0..30u32).expect("distinct")
}

/// Probabilities that fall by a constant factor.
fn geometric(factor: f64) -> Table<u32> {
    Table::from_log_scores(space(), (0..30).map(|k| f64::from(k) * factor.ln()).collect())
        .expect("a distribution")
}

fn constraints<C: 'static>() -> [Constraint<C, u32>; 3] {
    [
        Constraint::moment(feature("k", |_: &C, k: &u32| f64::from(*k)), 9.0).expect("finite"),
        Constraint::moment(predicate("even", |_: &C, k: &u32| k.is_multiple_of(2)), 0.7).expect("finite"),
        Constraint::never(predicate("three", |_: &C, k: &u32| *k == 3)),
    ]
}

fn within_errors(what: &str, estimate: Estimate, expected: f64) {
    let off = (estimate.value - expected).abs();
    assert!(off <= 4.0 * estimate.std_error, "{what}: {estimate:?}, expected {expected}");
}

/// Every estimate of a report against that of exact sums.
#[track_caller]
fn check(sampled: &FitReport, exact: &FitReport) {
    assert!(exact.exact && !sampled.exact);
    for (found, expected) in sampled.constraints.iter().zip(&exact.constraints) {
        within_errors(&format!("base moment of {}", found.feature), found.base, expected.base.value);
        if let (Some(found), Some(expected)) = (found.coefficient, expected.coefficient) {
            within_errors("coefficient", found, expected.value);
        }
        // The part kept back and the other both have errors.
        let held_out = found.held_out.expect("measured");
        let error = held_out.std_error * (1.0f64 + 0.25).sqrt();
        assert!((held_out.value - expected.achieved.value).abs() <= 4.0 * error, "{found:?}");
    }
    within_errors("ln Z", sampled.log_z, exact.log_z.value);
    within_errors("KL", sampled.kl_from_base, exact.kl_from_base.value);
    assert!(matches!(sampled.held_out, HeldOut::Measured { share: 0.2, .. }));
}

fn fit<C: 'static>(measured: &Measured<C, u32>) -> FitReport {
    measured.fit(&constraints(), &FitConfig::default()).expect("fits").report().clone()
}

fn exact() -> FitReport {
    fit(&Measured::exact(&geometric(0.8), &space(), vec![()], &features(&constraints())).expect("measures"))
}

#[test]
fn samples_of_the_base() {
    let mut rng = StreamRng::seed_from_u64(1);
    let measured = Measured::draw(&geometric(0.8), vec![()], &features(&constraints()), SAMPLES, &mut rng)
        .expect("measures");
    check(&fit(&measured), &exact());
}

#[test]
fn samples_of_a_better_proposal_and_of_a_mixture() {
    let base = geometric(0.8);
    let mut rng = StreamRng::seed_from_u64(2);
    let better = geometric(0.95);
    let measured =
        Measured::draw_from(&base, &better, vec![()], &features(&constraints()), SAMPLES, &mut rng);
    let report = fit(&measured.expect("measures"));
    check(&report, &exact());
    let of_base =
        Measured::draw(&base, vec![()], &features(&constraints()), SAMPLES, &mut rng).expect("measures");
    assert!(report.ess > fit(&of_base).ess, "it is nearer to the target");
    let mixture = Mixture::new([(0.3, geometric(0.8)), (0.7, geometric(0.95))]).expect("weights");
    let measured =
        Measured::draw_from(&base, &mixture, vec![()], &features(&constraints()), SAMPLES, &mut rng);
    check(&fit(&measured.expect("measures")), &exact());
}

#[test]
fn samples_and_log_probabilities_of_another_engine() {
    let base = geometric(0.8);
    let samples = base.sample(&(), &Streams::new(3, SAMPLES)).expect("samples");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    for sample in &samples {
        writeln!(file, r#"{{"context": "c", "sample": {}, "log_prob": {}}}"#, sample.value, sample.log_prob)
            .expect("writes");
    }
    let drawn = Empirical::<String, u32>::from_json_lines(file.path()).expect("reads");
    let measured = Measured::from_empirical(&drawn, &features(&constraints())).expect("measures");
    assert_eq!(measured.samples(), SAMPLES);
    check(&fit(&measured), &exact());
    // Equal numbers, stored otherwise.
    let stored = ContextSamples {
        context: "c".to_owned(),
        samples: samples.iter().map(|sample| sample.value).collect(),
        log_base: samples.iter().map(|sample| sample.log_prob).collect(),
        log_proposal: samples.iter().map(|sample| sample.log_prob).collect(),
    };
    let stored = Measured::from_stored(vec![stored], &features(&constraints())).expect("measures");
    assert_eq!(fit(&stored), fit(&measured));
}

#[test]
fn weighted_contexts() {
    let contexts = Contexts::weighted(vec![0u32, 1, 2], &[1.0, 2.0, 5.0]).expect("weights");
    let base =
        PerContext::new([0.7, 0.8, 0.9].into_iter().zip(0u32..).map(|(factor, c)| (c, geometric(factor))))
            .expect("distinct");
    let items = || contexts.items().to_vec();
    let weighted = |measured: disco_ebm::Result<Measured<u32, u32>>| {
        measured.expect("measures").with_context_weights(contexts.probabilities()).expect("positive")
    };
    let exact = weighted(Measured::exact(&base, &space(), items(), &features(&constraints())));
    let mut rng = StreamRng::seed_from_u64(4);
    let sampled = weighted(Measured::draw(&base, items(), &features(&constraints()), SAMPLES, &mut rng));
    check(&fit(&sampled), &fit(&exact));
    // The weights matter.
    let equal = Measured::exact(&base, &space(), items(), &features(&constraints())).expect("measures");
    let coefficient = |report: &FitReport| report.constraints[0].coefficient.expect("a moment").value;
    assert!((coefficient(&fit(&equal)) - coefficient(&fit(&exact))).abs() > 0.01);
}

#[test]
fn mixed_constraints_over_weighted_contexts_from_a_mixture() {
    let contexts = || vec![0u32, 1, 2];
    let each = |factors: [f64; 3]| {
        let parts = contexts().into_iter().zip(factors.map(geometric));
        PerContext::new(parts).expect("distinct")
    };
    let base = each([0.7, 0.8, 0.9]);
    let proposal = Mixture::new([(0.4, base.clone()), (0.6, each([0.9, 0.93, 0.97]))]).expect("weights");
    let features = features(&constraints());
    let weighted = |measured: disco_ebm::Result<Measured<u32, u32>>| {
        measured.expect("measures").with_context_weights(&[1.0, 2.0, 5.0]).expect("positive")
    };
    let exact = weighted(Measured::exact(&base, &space(), contexts(), &features));
    let mut rng = StreamRng::seed_from_u64(6);
    let sampled = weighted(Measured::draw_from(&base, &proposal, contexts(), &features, SAMPLES, &mut rng));
    check(&fit(&sampled), &fit(&exact));
    // Each context has a Z of its own, and keeps to what holds always.
    let found = exact.fit(&constraints(), &FitConfig::default()).expect("fits");
    let truth = exact.assess(found.tilt(), ContextErrors::Fixed).expect("supported").log_z_by_context;
    let estimates = sampled.assess(found.tilt(), ContextErrors::Fixed).expect("supported").log_z_by_context;
    assert_eq!(truth.len(), 3);
    for ((context, found), (expected_context, expected)) in estimates.iter().zip(&truth) {
        assert_eq!(context, expected_context);
        within_errors("ln Z of a context", *found, expected.value);
    }
    // They are that far apart that one context's does not pass for another's.
    for pair in estimates.windows(2) {
        assert!(pair[1].1.value - pair[0].1.value > 8.0 * pair[0].1.std_error, "{estimates:?}");
    }
    let target = found.target(&base);
    for context in contexts() {
        let p = space().normalise(&target, &context).expect("a distribution");
        assert_eq!(p.log_prob(&3), f64::NEG_INFINITY);
    }
}

#[test]
fn fresh_samples_assess_a_target_fitted_to_others() {
    let base = geometric(0.8);
    let mut rng = StreamRng::seed_from_u64(5);
    let features = features(&constraints());
    let few = Measured::draw(&base, vec![()], &features, 500, &mut rng).expect("measures");
    let fit = few.fit(&constraints(), &FitConfig::default()).expect("fits");
    let fresh = Measured::draw(&base, vec![()], &features, SAMPLES, &mut rng).expect("measures");
    let assessed = fresh.assess(fit.tilt(), ContextErrors::Fixed).expect("supported");
    let exact = Measured::exact(&base, &space(), vec![()], &features).expect("measures");
    let truth = exact.assess(fit.tilt(), ContextErrors::Fixed).expect("supported");
    for (found, expected) in assessed.moments.iter().zip(&truth.moments) {
        within_errors("moment", *found, expected.value);
    }
    within_errors("ln Z", assessed.log_z, truth.log_z.value);
    within_errors("KL", assessed.kl_from_base, truth.kl_from_base.value);
    assert_eq!(assessed.log_z_by_context, [(0, assessed.log_z)]);
    // Five hundred samples do not reach the targets, which the fit's own errors foretell.
    let report = fit.report();
    for (found, expected) in report.constraints.iter().zip(&truth.moments).take(2) {
        within_errors("true moment", found.achieved, expected.value);
        assert!((found.achieved.value - expected.value).abs() > 1e-3);
    }
}
