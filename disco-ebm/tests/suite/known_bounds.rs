//! Known ranges of features, and the bounds of a target's scores that follow.

use std::sync::Arc;

use disco_core::{Scorer, Space, feature};
use disco_ebm::{Constraint, Error, FitConfig, Measured, Tilt, features};

use crate::worlds::{base, bits, moment, space, value, values};

#[test]
fn the_bound_is_the_sum_of_the_largest_terms() {
    let terms = [
        (moment(values(1), 0.5).ranged(-1.0, 3.0).expect("a range"), Some(2.0)),
        (moment(values(2), 0.5).ranged(-1.0, 3.0).expect("a range"), Some(-0.5)),
        (moment(bits(3), 0.5).binary(), Some(0.7)),
        (Constraint::never(bits(4)), None),
        (moment(values(5), 0.5), Some(0.0)),
        (
            moment(values(6), 1.0)
                .given(Arc::new(bits(7)))
                .expect("a mean")
                .ranged(-1.0, 3.0)
                .expect("a range"),
            Some(-1.5),
        ),
        (
            Constraint::reward(values(8), 2.0)
                .expect("positive")
                .ranged(f64::NEG_INFINITY, 3.0)
                .expect("a range"),
            None,
        ),
    ];
    let tilt = Tilt::new(terms).expect("a tilt");
    // 2*3, -0.5*-1, 0.7, 0, 0, -1.5*(-1 - 1), 3/2.
    assert!(
        (tilt.log_bound(&0).expect("no contexts").expect("known") - (6.0 + 0.5 + 0.7 + 3.0 + 1.5)).abs()
            < 1e-12
    );
    let all = space(500).log_scores(&tilt, &3).expect("scores");
    assert!(all.iter().all(|score| *score <= 11.7));
}

#[test]
fn a_side_that_is_not_known_has_no_bound() {
    let one_sided = |coefficient: f64| {
        let constraint = moment(values(1), 0.5).ranged(-1.0, f64::INFINITY).expect("a range");
        Tilt::new([(constraint, Some(coefficient))]).expect("a tilt").log_bound(&0).expect("no contexts")
    };
    assert_eq!((one_sided(-2.0), one_sided(2.0), one_sided(0.0)), (Some(2.0), None, Some(0.0)));
    let unknown = Tilt::new([(moment(values(1), 0.5), Some(1.0))]).expect("a tilt");
    assert_eq!(unknown.log_bound(&0).expect("no contexts"), None);
}

#[test]
fn a_context_has_its_own_bound() {
    let constraints = [moment(bits(1), 0.0).binary().with_targets(vec![0.2, 0.9]).expect("finite")];
    let measured =
        Measured::exact(&base(1, 12), &space(12), vec![0, 1], &features(&constraints)).expect("measured");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    for context in 0..2 {
        let largest =
            space(12).log_scores(fit.tilt(), &context).expect("scores").into_iter().fold(f64::MIN, f64::max);
        let bound = fit.tilt().log_bound(&context).expect("fitted").expect("known");
        assert!((bound - largest).abs() < 1e-12);
    }
    assert!(matches!(fit.tilt().log_bound(&7), Err(Error::UnknownContext { .. })));
}

#[test]
fn a_value_outside_of_its_range_is_an_error() {
    let constraints = [moment(values(1), 0.5).ranged(-1.0, 1.0).expect("a range")];
    let measured =
        Measured::exact(&base(1, 30), &space(30), vec![0], &features(&constraints)).expect("measured");
    let error = measured.fit(&constraints, &FitConfig::default()).expect_err("values go up to 3");
    assert!(matches!(error, Error::OutOfRange { low: -1.0, high: 1.0, .. }), "{error}");
    let tilt = Tilt::new([(constraints[0].clone(), Some(1.0))]).expect("a tilt");
    let outside = (0..30).find(|x| value(1, 0, *x) > 1.0).expect("one is above");
    assert!(tilt.log_scores(&0, &[&outside]).expect_err("outside").to_string().contains("known range"));
    assert!(
        moment(values(1), 0.5).ranged(2.0, 1.0).is_err()
            && moment(values(1), 0.5).ranged(f64::NAN, 1.0).is_err()
    );
}

#[test]
fn a_mean_between_two_numbers() {
    let fit = |low: f64, high: f64| {
        let constraints = [Constraint::between(values(1), low, high).expect("a range")];
        let measured =
            Measured::exact(&base(1, 30), &space(30), vec![0], &features(&constraints)).expect("measured");
        measured.fit(&constraints, &FitConfig::default()).expect("fits").report().constraints[0].clone()
    };
    let of_base = fit(0.0, 2.0).base.value;
    assert_eq!(fit(of_base - 0.1, of_base + 0.2).coefficient.expect("a mean").value, 0.0);
    assert!((fit(of_base + 0.1, of_base + 0.3).achieved.value - (of_base + 0.1)).abs() < 1e-9);
    assert!((fit(of_base - 0.4, of_base - 0.2).achieved.value - (of_base - 0.2)).abs() < 1e-9);
    assert!(Constraint::between(values(1), 2.0, 1.0).is_err());
    assert!(Constraint::between(values(1), 0.0, f64::INFINITY).is_err());
}

#[test]
fn each_context_may_have_outcomes_of_its_own() {
    let spaces: Vec<(usize, Space<usize>)> = vec![
        (0, space(5)),
        (1, Space::new([7, 8, 9]).expect("distinct")),
        (2, Space::new([3]).expect("distinct")),
    ];
    let uniform = disco_core::scorer(|context: &usize, _: &usize| -([5.0f64, 3.0, 1.0][*context].ln()));
    let constraints = [moment(feature("x", |_: &usize, x: &usize| *x as f64), 4.2)];
    let measured = Measured::exact_each(&uniform, spaces, &features(&constraints)).expect("measured");
    assert_eq!((measured.samples(), measured.is_exact()), (9, true));
    // The means are 2, 8 and 3 under the base.
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    assert!((fit.report().constraints[0].base.value - 13.0 / 3.0).abs() < 1e-12);
    assert!((fit.report().constraints[0].achieved.value - 4.2).abs() < 1e-9);
    let short = vec![(0, space(4))];
    let error =
        Measured::exact_each(&uniform, short, &features(&constraints)).expect_err("a fifth is missing");
    assert!(error.to_string().contains("context 0"), "{error}");
}
