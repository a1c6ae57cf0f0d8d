//! Fits to plain matrices, with design weights, and contexts of weight zero.

use disco_core::{Error as CoreError, Space, Table, feature};
use disco_ebm::{Constraint, ContextErrors, Error, EvaluatedSamples, FitConfig, Measured, features};
use ndarray::{Array2, array};

#[test]
fn a_matrix_gives_the_fit_that_closures_give() {
    let scores = vec![-0.2, -1.0, -2.5, -0.9];
    let base =
        Table::from_log_scores(Space::new(0..4u32).expect("distinct"), scores.clone()).expect("scores");
    let constraints = [
        Constraint::moment(feature("x", |_: &(), x: &u32| f64::from(*x)), 1.7).expect("finite"),
        Constraint::moment(feature("square", |_: &(), x: &u32| f64::from(*x).powi(2)), 4.0).expect("finite"),
    ];
    let closures = Measured::exact(&base, base.space(), vec![()], &features(&constraints)).expect("measures");
    let expected = closures.fit(&constraints, &FitConfig::default()).expect("fits");
    // Log-weights of any sum.
    let values = Array2::from_shape_fn((4, 2), |(x, i)| (x as f64).powi(1 + i as i32));
    let points =
        EvaluatedSamples::exact(scores.iter().map(|score| score - 500.0).collect(), values).expect("points");
    let measured = Measured::from_matrices(["x", "square"], vec![points]).expect("measures");
    let constraints =
        [measured.moment("x", 1.7), measured.moment("square", 4.0)].map(|made| made.expect("a column"));
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let (found, expected) = (fit.report(), expected.report());
    for (found, expected) in found.constraints.iter().zip(&expected.constraints) {
        let value = |report: &disco_ebm::ConstraintReport| report.coefficient.expect("a moment").value;
        assert!((value(found) - value(expected)).abs() < 1e-9);
    }
    assert!((found.log_z.value - expected.log_z.value).abs() < 1e-9);
    assert!((found.kl_from_base.value - expected.kl_from_base.value).abs() < 1e-9);
}

/// Weights stand for repetitions: a sample of weight 3 counts as three of weight 1.
#[test]
fn design_weights_stand_for_repetitions() {
    let values = array![[1.0], [2.0], [5.0], [7.0]];
    let fit = |points: EvaluatedSamples| {
        let measured = Measured::from_matrices(["x"], vec![points]).expect("measures");
        let constraints = [measured.moment("x", 4.0).expect("a column")];
        let config = FitConfig { min_ess: 0.0, held_out: 0.0, ..FitConfig::default() };
        let fit = measured.fit(&constraints, &config).expect("fits");
        let report = &fit.report().constraints[0];
        (report.coefficient.expect("a moment").value, report.base.value)
    };
    let weighted = EvaluatedSamples::with_design_weights(&[6.0, 2.0, 0.0, 4.0], values).expect("points");
    let repeated = array![[1.0], [1.0], [1.0], [2.0], [7.0], [7.0]];
    let repeated = EvaluatedSamples::sampled(vec![0.0; 6], repeated).expect("points");
    let (weighted, repeated) = (fit(weighted), fit(repeated));
    assert!((weighted.0 - repeated.0).abs() < 1e-9 && (weighted.1 - repeated.1).abs() < 1e-12);
}

#[test]
fn bad_matrices_are_refused() {
    let points = || EvaluatedSamples::sampled(vec![0.0; 2], array![[0.0], [1.0]]).expect("points");
    let exact = || EvaluatedSamples::exact(vec![0.0; 2], array![[0.0], [1.0]]).expect("points");
    let none: [&str; 0] = [];
    assert!(matches!(
        Measured::from_matrices(none, vec![points()]).err(),
        Some(Error::Core(CoreError::Empty { .. }))
    ));
    assert!(matches!(
        Measured::from_matrices(["x"], vec![]).err(),
        Some(Error::Core(CoreError::Empty { .. }))
    ));
    let wide = Measured::from_matrices(["x", "y"], vec![points()]).err();
    assert!(matches!(wide, Some(Error::InContext { context: 0, cause: CoreError::Length { .. } })));
    assert!(Measured::from_matrices(["x"], vec![points(), exact()]).is_err());
    let twice = EvaluatedSamples::sampled(vec![0.0; 2], array![[0.0, 1.0], [1.0, 0.0]]).expect("points");
    assert!(matches!(
        Measured::from_matrices(["x", "x"], vec![twice]).err(),
        Some(Error::DuplicateFeature { .. })
    ));
    for weights in [[-1.0, 1.0], [f64::NAN, 1.0], [f64::INFINITY, 1.0], [0.0, 0.0]] {
        assert!(
            EvaluatedSamples::with_design_weights(&weights, array![[0.0], [1.0]]).is_err(),
            "{weights:?}"
        );
    }
    let measured = Measured::from_matrices(["x"], vec![points()]).expect("measures");
    assert!(matches!(measured.moment("y", 0.5).err(), Some(Error::NotMeasured { .. })));
}

/// A context of weight zero counts for nothing, even if nothing in it satisfies the constraints.
#[test]
fn contexts_of_weight_zero_count_for_nothing() {
    let context = |low: f64| {
        let values = array![[1.0, low], [1.0, low + 1.0], [1.0, low + 3.0]];
        EvaluatedSamples::exact(vec![0.0; 3], values).expect("points")
    };
    let without = EvaluatedSamples::exact(vec![0.0; 2], array![[0.0, 8.0], [0.0, 9.0]]).expect("points");
    let fit = |contexts: Vec<EvaluatedSamples>, weights: &[f64]| {
        let measured = Measured::from_matrices(["allowed", "x"], contexts)?.with_context_weights(weights)?;
        let constraints = [measured.pointwise("allowed", true)?, measured.moment("x", 2.0)?];
        let base = measured.base_moments(ContextErrors::Fixed)?[1].value;
        Ok::<_, Error>((measured.fit(&constraints, &FitConfig::default())?.report().clone(), base))
    };
    let (found, base) =
        fit(vec![context(0.0), without.clone(), context(1.0)], &[1.0, 0.0, 3.0]).expect("fits");
    let (expected, expected_base) = fit(vec![context(0.0), context(1.0)], &[1.0, 3.0]).expect("fits");
    let lambda = |report: &disco_ebm::FitReport| report.constraints[1].coefficient.expect("a moment").value;
    assert!((lambda(&found) - lambda(&expected)).abs() < 1e-12 && (base - expected_base).abs() < 1e-12);
    assert_eq!((found.contexts, found.contexts_left_out), (2, 0));
    let error = fit(vec![context(0.0), without], &[1.0, 1e-9]).expect_err("no support");
    assert!(matches!(error, Error::NoSupport { context: 1, .. }), "{error}");
    for weights in [[0.0, 0.0], [-1.0, 1.0], [f64::NAN, 1.0]] {
        assert!(fit(vec![context(0.0), context(1.0)], &weights).is_err());
    }
}

/// A context of weight zero counts for nothing, also where a constraint that fits the others forbids all that it has.
#[test]
fn weights_where_a_context_of_weight_zero_has_no_support() {
    let contexts = [array![[0.0], [0.0]], array![[1.0], [0.0]]]
        .map(|values| EvaluatedSamples::exact(vec![0.0; 2], values).expect("points"));
    let measured = Measured::from_matrices(["allowed"], contexts.to_vec()).expect("measures");
    let measured = measured.with_context_weights(&[0.0, 1.0]).expect("weights");
    let asked = [measured.moment("allowed", 1.0).expect("a column")];
    let fit = measured.fit(&asked, &FitConfig::default()).expect("fits");
    assert_eq!(measured.target_weights(fit.tilt()).expect("weights"), [[0.0, 0.0], [1.0, 0.0]]);
}
