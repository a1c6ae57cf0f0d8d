//! The loop that samples again from better proposals, against exact answers.

use std::sync::Arc;

use disco_core::{
    Contexts, Distribution, Error as CoreError, Mixture, PerContext, Space, StreamRng, Table, feature,
    predicate, scorer,
};
use disco_ebm::{
    AdaptiveConfig, Constraint, Ebm, Error, FitConfig, Measured, ReusePolicy, Tilt, features, fit_adaptively,
};
use rand::SeedableRng;

type Proposed = disco_core::Result<Arc<dyn Distribution<(), u32>>>;

fn poisson(mean: f64) -> Table<u32> {
    let log_score =
        move |_: &(), k: &u32| f64::from(*k) * mean.ln() - (1..=*k).map(|i| f64::from(i).ln()).sum::<f64>();
    Space::new(0..200u32).expect("distinct").normalise(&scorer(log_score), &()).expect("a distribution")
}

/// The base times the factor, normalised: the best proposal there is.
fn tilted(base: &Table<u32>, tilt: &Tilt<(), u32>) -> Proposed {
    Ok(Arc::new(base.space().normalise(&Ebm::new(base, tilt.clone()), &())?))
}

fn within_errors(what: &str, estimate: disco_core::Estimate, expected: f64) {
    let off = (estimate.value - expected).abs();
    assert!(off <= 4.0 * estimate.std_error, "{what}: {estimate:?}, expected {expected}");
}

#[test]
fn a_mean_that_no_sample_of_the_base_reaches() {
    let base = poisson(10.0);
    let constraints =
        [Constraint::moment(feature("k", |_: &(), k: &u32| f64::from(*k)), 35.0).expect("finite")];
    let mut rng = StreamRng::seed_from_u64(1);
    let first = Measured::draw(&base, vec![()], &features(&constraints), 1000, &mut rng).expect("measures");
    let error = first.fit(&constraints, &FitConfig::default()).expect_err("out of reach");
    assert!(matches!(error, Error::OutOfReach { .. }), "{error}");
    for reuse in [ReusePolicy::All, ReusePolicy::Latest] {
        let config = AdaptiveConfig { reuse, max_rounds: 12, ..AdaptiveConfig::default() };
        let found =
            fit_adaptively(&base, &Contexts::single(()), &constraints, &config, &mut rng, |tilt, _| {
                tilted(&base, tilt)
            })
            .expect("reaches the target");
        let report = found.fit.report();
        // Poisson(10) tilted to mean 35 is Poisson(35).
        within_errors("coefficient", report.constraints[0].coefficient.expect("a moment"), 3.5f64.ln());
        within_errors("ln Z", report.log_z, 25.0);
        within_errors("KL", report.kl_from_base, 35.0 * 3.5f64.ln() - 25.0);
        assert!(report.ess.expect("sampled") >= config.wanted_ess);
        assert!(found.rounds.len() > 2, "{:?}", found.rounds);
        let (last, before) = found.rounds.split_last().expect("rounds");
        assert_eq!(last.progress, 1.0);
        assert!(before.windows(2).all(|pair| pair[0].progress < pair[1].progress), "{:?}", found.rounds);
        let samples = if reuse == ReusePolicy::All { 1000 * found.rounds.len() } else { 1000 };
        assert_eq!(found.measured.samples(), samples);
    }
}

#[test]
fn a_rare_feature_with_few_effective_samples() {
    let base = poisson(10.0);
    let rare = || predicate("above 18", |_: &(), k: &u32| *k > 18);
    let even = || predicate("even", |_: &(), k: &u32| k.is_multiple_of(2));
    let constraints = [Constraint::moment(rare(), 0.5).expect("finite"), Constraint::pointwise(even())];
    let exact = Measured::exact(&base, base.space(), vec![()], &features(&constraints)).expect("measures");
    let exact = exact.fit(&constraints, &FitConfig::default()).expect("fits");
    let lambda = exact.report().constraints[0].coefficient.expect("a moment").value;
    let mut rng = StreamRng::seed_from_u64(3);
    let config =
        AdaptiveConfig { samples: 3000, wanted_ess: 3000.0, step_ess: 20.0, ..AdaptiveConfig::default() };
    let found = fit_adaptively(&base, &Contexts::single(()), &constraints, &config, &mut rng, |tilt, _| {
        tilted(&base, tilt)
    })
    .expect("reaches the target");
    within_errors("coefficient", found.fit.report().constraints[0].coefficient.expect("a moment"), lambda);
    within_errors("ln Z", found.fit.report().log_z, exact.report().log_z.value);
    within_errors("KL", found.fit.report().kl_from_base, exact.report().kl_from_base.value);
    // The base rate, from samples of all rounds, is that of the base.
    let base_rate: f64 = (19..200).map(|k| base.log_prob(&k).exp()).sum();
    within_errors("base rate", found.fit.report().constraints[0].base, base_rate);
}

#[test]
fn several_contexts_with_weights_of_their_own_proposals() {
    let faster = |factor: f64| {
        let parts = [5u32, 15].map(|mean| (mean, poisson(f64::from(mean) * factor)));
        PerContext::new(parts).expect("distinct")
    };
    let contexts = Contexts::weighted(vec![5, 15], &[0.25, 0.75]).expect("positive");
    // Contexts 5 and 15 have mean 12.5; a common factor exp(lambda k) multiplies both means: 25 needs ln 2.
    let constraints =
        [Constraint::moment(feature("k", |_: &u32, k: &u32| f64::from(*k)), 25.0).expect("finite")];
    let mut rng = StreamRng::seed_from_u64(4);
    let config = AdaptiveConfig { samples: 2000, wanted_ess: 1500.0, ..AdaptiveConfig::default() };
    let found = fit_adaptively(&faster(1.0), &contexts, &constraints, &config, &mut rng, |tilt, _| {
        let lambda = tilt.coefficients().next().flatten().expect("a moment");
        Ok(Arc::new(faster(lambda.exp())))
    })
    .expect("reaches the target");
    let report = found.fit.report();
    assert!(report.least_context_ess.expect("sampled") > 100.0);
    within_errors("coefficient", report.constraints[0].coefficient.expect("a moment"), 2f64.ln());
}

#[test]
fn mixed_constraints_in_contexts_from_mixtures_with_the_base() {
    let each = |factor: f64| {
        let parts = [5u32, 15].map(|mean| (mean, poisson(f64::from(mean) * factor)));
        PerContext::new(parts).expect("distinct")
    };
    let base = each(1.0);
    let contexts = Contexts::weighted(vec![5u32, 15], &[0.25, 0.75]).expect("positive");
    let constraints = [
        Constraint::moment(feature("k", |_: &u32, k: &u32| f64::from(*k)), 30.0).expect("finite"),
        Constraint::pointwise(predicate("even", |_: &u32, k: &u32| k.is_multiple_of(2))),
    ];
    let space = Space::new(0..200u32).expect("distinct");
    let exact = Measured::exact(&base, &space, contexts.items().to_vec(), &features(&constraints))
        .and_then(|measured| measured.with_context_weights(contexts.probabilities()))
        .and_then(|measured| measured.fit(&constraints, &FitConfig::default()))
        .expect("fits");
    let mut rng = StreamRng::seed_from_u64(7);
    let config = AdaptiveConfig { samples: 3000, wanted_ess: 1500.0, ..AdaptiveConfig::default() };
    let found = fit_adaptively(&base, &contexts, &constraints, &config, &mut rng, |tilt, _| {
        let lambda = tilt.coefficients().flatten().next().expect("a moment");
        Ok(Arc::new(Mixture::new([(0.1, each(1.0)), (0.9, each(lambda.exp()))])?))
    })
    .expect("reaches the target");
    assert!(found.rounds.len() > 1, "the base's own samples would not do: {:?}", found.rounds);
    let (report, exact) = (found.fit.report(), exact.report());
    assert!(report.ess.expect("sampled") >= config.wanted_ess);
    let lambda = exact.constraints[0].coefficient.expect("a moment").value;
    within_errors("coefficient", report.constraints[0].coefficient.expect("a moment"), lambda);
    within_errors("ln Z", report.log_z, exact.log_z.value);
    within_errors("KL", report.kl_from_base, exact.kl_from_base.value);
}

#[test]
fn contexts_of_weight_zero_are_left_out() {
    let contexts = Contexts::weighted(vec![(), ()], &[0.0, 2.0]).expect("one above zero");
    let constraints =
        [Constraint::moment(feature("k", |_: &(), k: &u32| f64::from(*k)), 11.0).expect("finite")];
    let mut rng = StreamRng::seed_from_u64(6);
    let base = poisson(10.0);
    let stay = |_: &Tilt<(), u32>, _: &disco_ebm::AdaptiveRound| -> Proposed { Ok(Arc::new(poisson(10.0))) };
    let found = fit_adaptively(&base, &contexts, &constraints, &AdaptiveConfig::default(), &mut rng, stay)
        .expect("fits");
    assert_eq!((found.measured.contexts(), found.fit.report().contexts), (1, 1));
}

#[test]
fn the_loop_says_why_it_gives_up() {
    let base = poisson(10.0);
    let mut rng = StreamRng::seed_from_u64(5);
    let far = [Constraint::moment(feature("k", |_: &(), k: &u32| f64::from(*k)), 60.0).expect("finite")];
    let config = AdaptiveConfig { max_rounds: 3, ..AdaptiveConfig::default() };
    // A proposal that does not move.
    let stuck = |_: &Tilt<(), u32>, _: &disco_ebm::AdaptiveRound| -> Proposed { Ok(Arc::new(poisson(10.0))) };
    let error = fit_adaptively(&base, &Contexts::single(()), &far, &config, &mut rng, stuck)
        .expect_err("never reaches it");
    assert!(matches!(error, Error::NotReached { rounds: 3, .. }), "{error}");
    // A feature that never occurs gives no direction to go in.
    let never = [Constraint::moment(predicate("never", |_: &(), k: &u32| *k > 500), 0.5).expect("finite")];
    let error = fit_adaptively(&base, &Contexts::single(()), &never, &config, &mut rng, stuck)
        .expect_err("impossible");
    assert!(matches!(error, Error::OutOfReach { low: 0.0, high: 0.0, .. }), "{error}");
    // The error of the proposal is passed on.
    let fails = |_: &Tilt<(), u32>, _: &disco_ebm::AdaptiveRound| -> Proposed {
        Err(CoreError::failed("tuning", "no GPU"))
    };
    let error =
        fit_adaptively(&base, &Contexts::single(()), &far, &config, &mut rng, fails).expect_err("fails");
    assert!(matches!(error, Error::Core(CoreError::Failed { .. })), "{error}");
}

/// The base has what is asked for in one of 700 samples, in each of two contexts; a conditional mean beside it.
#[test]
fn each_context_is_reached_with_coefficients_of_its_own() {
    let scores = (0..20).map(|x| if x < 2 { -4.0 } else { 0.1 * f64::from(x % 3) }).collect();
    let base = Table::from_log_scores(Space::new(0..20usize).expect("distinct"), scores).expect("a table");
    let even: Arc<dyn disco_core::Feature<usize, usize>> =
        Arc::new(predicate("even", |_: &usize, x: &usize| x.is_multiple_of(2)));
    let constraints = [
        Constraint::moment(predicate("rare", |_: &usize, x: &usize| *x < 2), 0.5)
            .expect("finite")
            .with_targets(vec![0.4, 0.6])
            .expect("finite"),
        Constraint::moment(feature("number", |_: &usize, x: &usize| *x as f64), 6.0)
            .expect("finite")
            .given(even)
            .expect("a mean"),
    ];
    let config =
        AdaptiveConfig { samples: 2000, wanted_ess: 500.0, step_ess: 20.0, ..AdaptiveConfig::default() };
    let mut rng = StreamRng::seed_from_u64(4);
    let contexts = Contexts::new(vec![0usize, 1]).expect("two");
    let found = fit_adaptively(&base, &contexts, &constraints, &config, &mut rng, |tilt, _| {
        // The intermediate target itself, in each context.
        let target = Ebm::new(&base, tilt.clone());
        let of_context = |context| Ok((context, base.space().normalise(&target, &context)?));
        let parts = [0usize, 1].map(of_context).into_iter().collect::<disco_core::Result<Vec<_>>>()?;
        Ok(Arc::new(PerContext::new(parts)?) as Arc<dyn Distribution<usize, usize>>)
    })
    .expect("reached");
    assert!(found.rounds.len() > 1, "the base alone is not enough");
    assert!(found.rounds.last().is_some_and(|round| round.ess >= 500.0));
    let target = found.fit.target(&base);
    let (mut sum, mut holds) = (0.0, 0.0);
    for (context, wanted) in [(0, 0.4), (1, 0.6)] {
        let p = base.space().normalise(&target, &context).expect("a target");
        let mass = |x: usize| p.log_prob(&x).exp();
        let error =
            found.fit.report().by_context[context].constraints[0].achieved.expect("no condition").std_error;
        assert!((mass(0) + mass(1) - wanted).abs() < 4.0 * error, "{context}");
        sum += (0..20).step_by(2).map(|x| mass(x) * x as f64).sum::<f64>();
        holds += (0..20).step_by(2).map(mass).sum::<f64>();
    }
    let error = found.fit.report().constraints[1].achieved.std_error;
    assert!((sum / holds - 6.0).abs() < 4.0 * error, "{}", sum / holds);
}
