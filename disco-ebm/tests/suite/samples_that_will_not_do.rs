//! Bad input: samples from which nothing can be fitted.

use disco_core::{Error as CoreError, Failure, Sampled, feature, predicate, scorer, try_feature};
use disco_ebm::{
    Constraint, ContextErrors, ContextsWithoutSupport, Error, FitConfig, HeldOut, Measured, features,
};

use crate::uniform::{draw, moment, rng, uniform};

#[test]
fn pointwise_constraints_on_what_is_not_binary() {
    let half = feature("half", |_: &(), x: &u32| f64::from(*x) / 2.0);
    let constraints = [Constraint::pointwise(half)];
    match draw(&constraints, 100).fit(&constraints, &FitConfig::default()).err() {
        Some(Error::NotBinary { feature, .. }) => assert_eq!(feature, "half"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn contexts_without_support() {
    // Context 1 never satisfies the pointwise constraint.
    let pointwise = Constraint::pointwise(predicate("allowed", |c: &u32, _: &u32| *c != 1));
    let constraints =
        [pointwise, Constraint::moment(predicate("low", |_: &u32, x: &u32| *x < 3), 0.5).expect("finite")];
    let measured = Measured::draw(&uniform(), vec![0, 1, 2], &features(&constraints), 500, &mut rng())
        .expect("measures");
    match measured.fit(&constraints, &FitConfig::default()).err() {
        Some(Error::NoSupport { context: 1, samples: 500, never }) => assert_eq!(never, ["allowed"]),
        other => panic!("{other:?}"),
    }
    let leave_out =
        FitConfig { contexts_without_support: ContextsWithoutSupport::LeaveOut, ..FitConfig::default() };
    let report = measured.fit(&constraints, &leave_out).expect("fits").report().clone();
    assert_eq!((report.contexts, report.contexts_left_out), (2, 1));
    assert!((report.constraints[1].achieved.value - 0.5).abs() < 1e-9);
    assert!(matches!(report.held_out, HeldOut::Measured { contexts: 2, .. }));
    let never = [Constraint::never(predicate("anything", |_: &u32, _: &u32| true))];
    let measured = Measured::draw(&uniform(), vec![0], &features(&never), 50, &mut rng()).expect("measures");
    for config in [FitConfig::default(), leave_out] {
        assert!(matches!(measured.fit(&never, &config).err(), Some(Error::NoSupport { context: 0, .. })));
    }
}

#[test]
fn too_few_effective_samples() {
    // Ten samples of a die, of which the few sixes must carry 99% of the weight.
    let constraints = [moment(1, 0.99)];
    let measured = draw(&constraints, 40);
    match measured.fit(&constraints, &FitConfig::default()).err() {
        Some(Error::TooFewEffectiveSamples { ess, needed: 10.0 }) => {
            assert!(ess > 1.0 && ess < 10.0, "{ess}")
        }
        other => panic!("{other:?}"),
    }
    let lax = FitConfig { min_ess: 0.0, ..FitConfig::default() };
    assert!(measured.fit(&constraints, &lax).expect("fits").report().ess.expect("sampled") < 10.0);
}

#[test]
fn samples_that_cannot_be_evaluated() {
    let picky = |skip: fn(u32) -> bool| {
        try_feature("picky", move |_: &(), x: &u32| {
            if skip(*x) { Err(Failure::Skip("not for me".into())) } else { Ok(f64::from(u8::from(*x < 5))) }
        })
    };
    let constraints = [Constraint::moment(picky(|x| x == 9), 0.5).expect("finite"), moment(3, 0.3)];
    let measured = draw(&constraints, 1000);
    let skipped = measured.skipped()["picky"];
    assert!((60..150).contains(&skipped), "{skipped}");
    assert_eq!(measured.samples(), 1000 - skipped);
    assert!(measured.context(0).expect("one").samples.iter().all(|x| *x != 9));
    let report = measured.fit(&constraints, &FitConfig::default()).expect("fits").report().clone();
    assert_eq!((report.skipped["picky"], report.samples), (skipped, 1000 - skipped));
    let all = Constraint::moment(picky(|_| true), 0.5).expect("finite");
    let error = Measured::draw(&uniform(), vec![()], &features(&[all]), 10, &mut rng()).err();
    assert!(matches!(error, Some(Error::AllSkipped { context: 0, skipped: 10 })), "{error:?}");
    // Exact sums cannot leave anything out.
    let some = Constraint::moment(picky(|x| x == 9), 0.5).expect("finite");
    assert!(Measured::exact(&uniform(), uniform().space(), vec![()], &features(&[some])).is_err());
    // A failure that stops the run is passed on.
    let stop = try_feature("broken", |_: &(), _: &u32| Err(Failure::Stop("no disk".into())));
    let stop = [Constraint::moment(stop, 0.5).expect("finite")];
    let error = Measured::draw(&uniform(), vec![()], &features(&stop), 10, &mut rng()).err();
    assert!(matches!(error, Some(Error::InContext { cause: CoreError::Failed { .. }, .. })), "{error:?}");
}

#[test]
fn exact_sums_need_a_normalised_base() {
    let twice = scorer(|_: &(), _: &u32| 0.2f64.ln());
    match Measured::exact(&twice, uniform().space(), vec![()], &features(&[moment(3, 0.5)])).err() {
        Some(Error::InContext { context: 0, cause: CoreError::Invalid { .. } }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_weights_zero() {
    let samples = vec![vec![Sampled { value: 3u32, log_prob: -1.0 }; 20]];
    let impossible = scorer(|_: &(), _: &u32| f64::NEG_INFINITY);
    let constraints = [moment(3, 0.5)];
    let measured =
        Measured::from_proposal(&impossible, vec![()], samples, &features(&constraints)).expect("measures");
    let error = measured.fit(&constraints, &FitConfig::default()).err();
    assert!(matches!(error, Some(Error::NoSupport { context: 0, samples: 20, .. })), "{error:?}");
    let error = measured.base_moments(ContextErrors::Fixed).err();
    let Some(Error::InContext { context: 0, cause: CoreError::ZeroWeights { count: 20 } }) = error else {
        panic!("{error:?}");
    };
}

#[test]
fn messages_name_the_feature_and_the_range() {
    let constraints =
        [Constraint::moment(predicate("ten", |_: &(), x: &u32| *x == 10), 0.5).expect("finite")];
    let error = draw(&constraints, 100).fit(&constraints, &FitConfig::default()).expect_err("never occurs");
    let message = error.to_string();
    assert!(
        message.contains("`ten`") && message.contains("0.5") && message.contains("from 0 to 0"),
        "{message}"
    );
}
