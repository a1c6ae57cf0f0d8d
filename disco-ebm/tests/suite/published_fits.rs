//! Outside references: fits whose answers are in print, or follow in closed form.

use disco_core::{Space, feature, numerics::logit, predicate};
use disco_ebm::{
    Constraint, Dual, EvaluatedSamples, FitConfig, Measured, MomentTarget, Solver, Termination, features,
};
use ndarray::array;

/// Berger, Della Pietra and Della Pietra (1996), section 2: French translations of "in". All that is known is
/// that `dans` or `en` is chosen 3/10 of the time, and `dans` or `à` half of the time.
#[test]
fn berger_et_al_1996() {
    let space =
        Space::new(["dans", "en", "à", "au cours de", "pendant"].map(str::to_owned)).expect("distinct");
    let one_of = |name: &'static str, words: [&'static str; 2]| {
        predicate(name, move |_: &(), word: &String| words.contains(&word.as_str()))
    };
    let first = Constraint::moment(one_of("dans or en", ["dans", "en"]), 0.3).expect("finite");
    let second = Constraint::moment(one_of("dans or à", ["dans", "à"]), 0.5).expect("finite");
    let uniform = space.uniform();
    let fit = |constraints: &[Constraint<(), String>]| {
        let measured = Measured::exact(&uniform, &space, vec![()], &features(constraints)).expect("measures");
        let fit = measured.fit(constraints, &FitConfig::default()).expect("fits");
        space.normalise(&fit.target(&uniform), &()).expect("a distribution")
    };
    // With the first constraint alone, the paper's answer is 3/20, 3/20, 7/30, 7/30, 7/30.
    let alone = fit(std::slice::from_ref(&first));
    let expected = [0.15, 0.15, 7.0 / 30.0, 7.0 / 30.0, 7.0 / 30.0];
    for (found, expected) in alone.probabilities().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    }
    // With both, x = p(dans) has p(dans) / p(en) = p(à) / p(other): x (1/10 + x/2) = (3/10 - x)(1/2 - x).
    let both = fit(&[first, second]);
    let x = 0.9 - (0.81f64 - 0.3).sqrt();
    let other = 0.1 + x / 2.0;
    for (found, expected) in both.probabilities().iter().zip([x, 0.3 - x, 0.5 - x, other, other]) {
        assert!((found - expected).abs() < 1e-10, "{found} for {expected}");
    }
}

/// The biographies of the GDC and QRS papers (Khalifa et al. 2021; Eikema et al. 2022): a base rate of .0741
/// that should be one half has the coefficient 2.526.
#[test]
fn biographies_in_closed_form() {
    let rate: f64 = 0.0741;
    let points =
        EvaluatedSamples::exact(vec![rate.ln(), (-rate).ln_1p()], array![[1.0], [0.0]]).expect("points");
    let target = MomentTarget { name: "female".into(), target: 0.5, tolerance: 0.0 };
    let dual = Dual::new(vec![target], vec![points], None, 0.0).expect("a dual");
    let solution = dual.solve(&Solver::default()).expect("feasible");
    assert_eq!(solution.termination, Termination::ClosedForm);
    assert!((solution.coefficients[0] + logit(rate)).abs() < 1e-14);
    // The printed base rate has three digits: between .07405 and .07415, lambda is between 2.5246 and 2.5261.
    assert!((solution.coefficients[0] - 2.526).abs() < 1e-3, "{}", solution.coefficients[0]);
}

/// A Poisson distribution of mean 10, asked for mean 11, is the Poisson distribution of mean 11:
/// `lambda = ln 1.1`, `ln Z = 1`, `KL = 11 ln 1.1 - 1`.
#[test]
fn poisson_of_another_mean() {
    let space = Space::new(0..400u32).expect("distinct");
    let log_factorial = |k: u32| (1..=k).map(|i| f64::from(i).ln()).sum::<f64>();
    let poisson =
        disco_core::scorer(move |_: &(), k: &u32| f64::from(*k) * 10f64.ln() - 10.0 - log_factorial(*k));
    let constraints =
        [Constraint::moment(feature("k", |_: &(), k: &u32| f64::from(*k)), 11.0).expect("finite")];
    let measured = Measured::exact(&poisson, &space, vec![()], &features(&constraints)).expect("measures");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let report = fit.report();
    assert!((report.constraints[0].coefficient.expect("a moment").value - 1.1f64.ln()).abs() < 1e-10);
    assert!((report.log_z.value - 1.0).abs() < 1e-9);
    assert!((report.kl_from_base.value - (11.0 * 1.1f64.ln() - 1.0)).abs() < 1e-9);
}
