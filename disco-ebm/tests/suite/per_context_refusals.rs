//! Contexts in which what is asked cannot be had, or not from these samples.

use disco_core::{StreamRng, feature, predicate};
use disco_ebm::{Constraint, Error, FitConfig, Measured, features};
use rand::SeedableRng;

use crate::worlds::{base, bit, bits, moment, space, values};

#[test]
fn contexts_that_cannot_have_it_are_named_all_at_once() {
    // Contexts 1 and 4 have no outcome with the feature, context 3 nothing else; in 5 another target is out of reach.
    let with = |context: &usize, x: &usize| match context {
        1 | 4 => 0.0,
        3 => 1.0,
        _ => f64::from(u8::from(x.is_multiple_of(2))),
    };
    let other = |context: &usize, x: &usize| *x as f64 + if *context == 5 { 100.0 } else { 0.0 };
    let constraints = [
        Constraint::moment(feature("with", with), 0.5).expect("finite").per_context().expect("a mean"),
        Constraint::moment(feature("other", other), 4.0).expect("finite").per_context().expect("a mean"),
    ];
    let uniform = disco_core::scorer(|_: &usize, _: &usize| -(10f64.ln()));
    let measured =
        Measured::exact(&uniform, &space(10), (0..6).collect(), &features(&constraints)).expect("measured");
    let error =
        measured.fit(&constraints, &FitConfig::default()).expect_err("four contexts are out of reach");
    let message = error.to_string();
    let Error::InContexts { contexts: 6, faults } = error else { panic!("{message}") };
    let found: Vec<(usize, usize, Option<usize>)> =
        faults.iter().map(|fault| (fault.context, fault.in_support, fault.having)).collect();
    assert_eq!(found, [(1, 10, Some(0)), (3, 10, Some(10)), (4, 10, Some(0)), (5, 10, Some(10))]);
    assert_eq!(faults[0].reach, Some((0.0, 0.0)));
    assert_eq!(faults[3].reach, Some((100.0, 109.0)));
    assert!(message.contains("4 of 6 contexts") && message.contains("more samples"), "{message}");
    assert!(message.contains("`with` = 0.5 is asked"), "{message}");
}

#[test]
fn beside_shared_moments_too_all_contexts_are_named() {
    // In context 0 the condition never holds, in 1 the feature is constant, in 2 two targets contradict each other.
    let first = |context: &usize, x: &usize| if *context == 1 { 1.0 } else { f64::from(u8::from(*x < 5)) };
    let second = |context: &usize, x: &usize| f64::from(u8::from(*x < if *context == 2 { 5 } else { 8 }));
    let given = |context: &usize, x: &usize| f64::from(u8::from(*context != 0 && x.is_multiple_of(2)));
    let g = std::sync::Arc::new(feature("given", given));
    let constraints = [
        Constraint::moment(feature("first", first), 0.4).expect("finite").per_context().expect("a mean"),
        Constraint::moment(feature("second", second), 0.6).expect("finite").per_context().expect("a mean"),
        moment(bits(3), 0.5).given(g).expect("a mean").per_context().expect("a mean"),
        moment(values(1), 0.9),
    ];
    let measured = Measured::exact(&base(2, 20), &space(20), (0..4).collect(), &features(&constraints))
        .expect("measured");
    let Err(Error::InContexts { faults, .. }) = measured.fit(&constraints, &FitConfig::default()) else {
        panic!("three contexts cannot have it")
    };
    let found: Vec<(usize, &Error)> = faults.iter().map(|fault| (fault.context, &*fault.cause)).collect();
    assert!(
        matches!(
            found[..],
            [(0, Error::NeverGiven { .. }), (1, Error::OutOfReach { .. }), (2, Error::OutsideHull { .. })]
        ),
        "{found:?}"
    );
}

#[test]
fn each_context_needs_effective_samples() {
    let rare =
        |context: &usize, x: &usize| f64::from(u8::from(if *context == 1 { *x < 5 } else { *x < 500 }));
    let constraints =
        [Constraint::moment(feature("rare", rare), 0.9).expect("finite").per_context().expect("a mean")];
    let draw = space(1000).uniform();
    let mut rng = StreamRng::seed_from_u64(3);
    let measured =
        Measured::draw(&draw, vec![0, 1, 2], &features(&constraints), 500, &mut rng).expect("measured");
    let error = measured.fit(&constraints, &FitConfig::default()).expect_err("a few samples carry context 1");
    let Error::InContexts { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(faults.len(), 1);
    assert!(faults[0].context == 1 && matches!(*faults[0].cause, Error::TooFewEffectiveSamples { .. }));
}

#[test]
fn bad_input_is_named() {
    let measured = |contexts: Vec<usize>, constraints: &[Constraint<usize, usize>]| {
        let measured =
            Measured::exact(&base(1, 8), &space(8), contexts, &features(constraints)).expect("measured");
        measured.fit(constraints, &FitConfig::default()).map(|_| ()).expect_err("bad").to_string()
    };
    let each = |targets: Vec<f64>| [moment(bits(1), 0.5).with_targets(targets).expect("finite")];
    let message = measured(vec![0, 1, 2], &each(vec![0.5, 0.4]));
    assert!(message.contains("targets of `bit 1`, one per context"), "{message}");
    let message = measured(vec![0, 4, 4], &each(vec![0.5; 3]));
    assert!(message.contains("contexts 1 and 2 are both 4"), "{message}");
    let by = [moment(bits(1), 0.5).with_targets_by(|context| 1.0 / (*context as f64 - 1.0)).expect("a mean")];
    let message = measured(vec![0, 1], &by);
    assert!(message.contains("target of `bit 1` in context 1"), "{message}");
    assert!(moment(bits(1), 0.5).with_targets(vec![f64::NAN]).is_err());
    assert!(Constraint::<usize, usize>::pointwise(bits(1)).per_context().is_err());
    assert!(Constraint::fixed(bits(1), 1.0).expect("finite").per_context().is_err());
}

#[test]
fn contexts_without_support_may_be_left_out() {
    let allowed = |context: &usize, _: &usize| *context != 1;
    let constraints = [
        Constraint::pointwise(predicate("allowed", allowed)),
        moment(bits(1), 0.4).per_context().expect("a mean"),
    ];
    let measured =
        Measured::exact(&base(1, 12), &space(12), vec![0, 1, 2], &features(&constraints)).expect("measured");
    let Err(Error::InContexts { faults, .. }) = measured.fit(&constraints, &FitConfig::default()) else {
        panic!("context 1 has no support")
    };
    assert!(faults.len() == 1 && faults[0].context == 1 && faults[0].in_support == 0);
    let contexts_without_support = disco_ebm::ContextsWithoutSupport::LeaveOut;
    let config = FitConfig { contexts_without_support, ..FitConfig::default() };
    let fit = measured.fit(&constraints, &config).expect("the others are fitted");
    assert_eq!((fit.report().contexts, fit.report().contexts_left_out), (2, 1));
    assert_eq!(fit.report().by_context.iter().map(|one| one.context).collect::<Vec<_>>(), [0, 2]);
    assert!(matches!(fit.tilt().coefficients_in(&1), Err(Error::UnknownContext { .. })));
}

#[test]
fn skipped_samples_count_for_z_in_their_context() {
    let skips = disco_core::try_feature("bit", |context: &usize, x: &usize| {
        if *context == 1 && *x == 3 { Err(disco_core::Failure::Skip("three".into())) } else { Ok(bit(1, *x)) }
    });
    let constraints = [Constraint::moment(skips, 0.4).expect("finite").per_context().expect("a mean")];
    let mut rng = StreamRng::seed_from_u64(5);
    let measured = Measured::draw(&space(12).uniform(), vec![0, 1], &features(&constraints), 2000, &mut rng);
    let measured = measured.expect("measured");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let skipped = measured.skipped()["bit"];
    let report = &fit.report().by_context[1];
    assert_eq!(report.samples + skipped, 2000);
    // ln Z of the samples that are left, and the share of those that are not.
    let weights = measured.values(1).expect("a context").column(0).to_owned();
    let coefficient = report.constraints[0].coefficient.expect("its own").value;
    let z = weights.iter().map(|value| (coefficient * value).exp()).sum::<f64>() / 2000.0;
    assert!((report.log_z.value - z.ln()).abs() < 1e-12);
}

#[test]
fn few_effective_samples_in_a_context_are_a_warning() {
    let rare =
        |context: &usize, x: &usize| f64::from(u8::from(if *context == 1 { *x < 15 } else { *x < 500 }));
    let constraints =
        [Constraint::moment(feature("rare", rare), 0.5).expect("finite").per_context().expect("a mean")];
    let mut rng = StreamRng::seed_from_u64(3);
    let measured =
        Measured::draw(&space(1000).uniform(), vec![0, 1, 2], &features(&constraints), 1000, &mut rng);
    let fit = measured.expect("measured").fit(&constraints, &FitConfig::default()).expect("fits");
    assert!(fit.report().ess.is_some_and(|ess| ess > 100.0));
    let found = fit.report().warnings().into_iter().find_map(|warning| match warning {
        disco_ebm::Warning::FewEffectiveInContexts { contexts, .. } => Some(contexts),
        _ => None,
    });
    assert_eq!(found, Some(vec![1]));
}
