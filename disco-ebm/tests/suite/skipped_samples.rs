//! A sample that cannot be evaluated has weight zero: the target has no mass where it cannot be scored.

use disco_core::{Failure, Scorer, scorer, try_feature, try_scorer};
use disco_ebm::{Constraint, ContextErrors, Error, FitConfig, Measured, Tilt, features};

use crate::uniform::{draw, moment, rng, uniform};

const SAMPLES: usize = 20_000;

/// A feature that is 1 below `limit`, and cannot be evaluated at 8 and 9.
fn picky(limit: u32) -> impl disco_core::Feature<(), u32> {
    try_feature(format!("below {limit}"), move |_: &(), x: &u32| match *x {
        8 | 9 => Err(Failure::Skip("too large".into())),
        x => Ok(f64::from(u8::from(x < limit))),
    })
}

#[test]
fn z_and_kl_take_the_skipped_share_for_forbidden() {
    // Of 0..10, 8 and 9 are skipped and 4 to 7 are forbidden: Z = 0.4, known to a binomial error. One standard
    // error is 0.0087; taking the evaluated samples for all would give ln 0.5, 26 errors off.
    let constraints = [Constraint::pointwise(picky(4))];
    let config = FitConfig { held_out: 0.0, ..FitConfig::default() };
    let from_base = draw(&constraints, SAMPLES);
    // Likewise if it is the base that cannot score them.
    let base = try_scorer("base", |_: &(), x: &u32| match *x {
        8 | 9 => Err(Failure::Skip("too large".into())),
        _ => Ok(0.1f64.ln()),
    });
    let low = [moment(4, 1.0)];
    let from_proposal =
        Measured::draw_from(&base, &uniform(), vec![()], &features(&low), SAMPLES, &mut rng())
            .expect("measures");
    for (measured, constraints) in [(from_base, &constraints), (from_proposal, &low)] {
        let fit = measured.fit(constraints, &config).expect("fits");
        let report = fit.report();
        let kept = report.samples as f64;
        assert_eq!(report.samples + report.skipped.values().sum::<usize>(), SAMPLES);
        let z = report.samples_in_support as f64 / SAMPLES as f64;
        let error = ((1.0 - z) / z / (SAMPLES - 1) as f64).sqrt();
        assert!((report.log_z.value - z.ln()).abs() < 1e-12, "{:?}", report.log_z);
        assert!((report.log_z.std_error - error).abs() < 1e-12, "{:?}", report.log_z);
        assert!((report.log_z.value - 0.4f64.ln()).abs() < 4.0 * error);
        assert!((report.kl_from_base.value + z.ln()).abs() < 1e-12, "{:?}", report.kl_from_base);
        assert!((report.kl_from_base.std_error - error).abs() < 1e-12, "{:?}", report.kl_from_base);
        let assessed = measured.assess(fit.tilt(), ContextErrors::Fixed).expect("supported");
        assert_eq!(assessed.log_z.value, report.log_z.value);
        assert!((assessed.log_z.std_error - error).abs() < 1e-12, "{:?}", assessed.log_z);
        // Moments are over what could be evaluated.
        let base = report.constraints[0].base;
        assert!((base.value - report.samples_in_support as f64 / kept).abs() < 1e-12, "{base:?}");
    }
}

#[test]
fn the_dual_counts_what_was_left_out() {
    use disco_ebm::{Dual, EvaluatedSamples, MomentTarget};
    use ndarray::array;
    let target = || vec![MomentTarget { name: "x".into(), target: 0.5, tolerance: 0.0 }];
    let points = || EvaluatedSamples::sampled(vec![0.0, 0.0], array![[0.0], [1.0]]).expect("points");
    let all = Dual::new(target(), vec![points()], None, 0.0).expect("a dual");
    let some = Dual::new(target(), vec![points().with_left_out(3)], None, 0.0).expect("a dual");
    let difference = all.value(&[0.3]).expect("a value") - some.value(&[0.3]).expect("a value");
    assert!((difference - 2.5f64.ln()).abs() < 1e-14);
    assert_eq!(all.gradient(&[0.3]).expect("a gradient"), some.gradient(&[0.3]).expect("a gradient"));
}

#[test]
fn what_one_constraint_forbids_is_forbidden_also_if_another_skips() {
    let forbids = || Constraint::never(disco_core::predicate("eight", |_: &(), x: &u32| *x == 8));
    let skips = || Constraint::pointwise(picky(8));
    for terms in [[(forbids(), None), (skips(), None)], [(skips(), None), (forbids(), None)]] {
        let tilt = Tilt::new(terms).expect("a tilt");
        let scores = tilt.log_scores(&(), &[&7, &8, &9]).expect("scores");
        assert_eq!((&scores[0], &scores[1]), (&Ok(0.0), &Ok(f64::NEG_INFINITY)));
        assert_eq!(scores[2].as_ref().map_err(disco_core::Skipped::by), Err("below 8"));
    }
    // An error is an error in either order.
    let broken = || Constraint::pointwise(disco_core::feature("x", |_: &(), x: &u32| f64::from(*x)));
    for terms in [[(broken(), None), (skips(), None)], [(skips(), None), (broken(), None)]] {
        assert!(Tilt::new(terms).expect("a tilt").log_scores(&(), &[&9]).is_err());
    }
}

#[test]
fn a_base_that_skips_everything() {
    let base = scorer(|_: &(), _: &u32| 0.0);
    let nothing = try_scorer("nothing", |_: &(), _: &u32| Err(Failure::Skip("never".into())));
    let constraints = [moment(4, 0.5)];
    let drawn = |base: &dyn Scorer<(), u32>| {
        Measured::draw_from(&base, &uniform(), vec![()], &features(&constraints), 50, &mut rng())
    };
    assert!(drawn(&base).is_ok());
    assert!(matches!(drawn(&nothing).err(), Some(Error::AllSkipped { context: 0, skipped: 50 })));
}
