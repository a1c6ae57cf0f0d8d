//! Features that vary little about a large number, or in large or small units: the fit is that of the feature without
//! offset and in other units.

use disco_core::{Space, StreamRng, Table, feature};
use disco_ebm::{Constraint, Error, FitConfig, Measured, SavedTarget, features};
use rand::SeedableRng;

fn base() -> Table<u32> {
    let space = Space::new(0..5u32).expect("distinct");
    Table::from_log_scores(space, vec![-1.0, -0.3, -2.0, -0.7, -1.1]).expect("scores")
}

fn constraint(offset: f64, unit: f64, target: f64) -> [Constraint<(), u32>; 1] {
    let x = feature("x", move |_: &(), x: &u32| offset + unit * f64::from(*x));
    [Constraint::moment(x, offset + unit * target).expect("finite")]
}

fn probabilities(offset: f64, unit: f64, target: f64) -> Vec<f64> {
    let constraints = constraint(offset, unit, target);
    let measured =
        Measured::exact(&base(), base().space(), vec![()], &features(&constraints)).expect("measures");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    assert!(fit.report().termination.is_converged());
    let (achieved, asked) = (fit.report().constraints[0].achieved.value, offset + unit * target);
    assert!((achieved - asked).abs() <= 1e-10 * unit + 1e-15 * asked.abs(), "{offset} {unit}: {achieved}");
    let target = fit.target(base());
    let z = base().space().log_z(&target, &()).expect("scores");
    assert!((z - fit.report().log_z.value).abs() < 1e-9);
    base().space().normalise(&target, &()).expect("a distribution").probabilities().to_vec()
}

/// `p(x)` in proportion to `a(x) exp(lambda x)` with the mean 1.25, by bisection.
fn expected() -> Vec<f64> {
    let weights = |lambda: f64| -> Vec<f64> {
        let terms: Vec<f64> = [-1.0, -0.3, -2.0, -0.7, -1.1]
            .iter()
            .enumerate()
            .map(|(x, a)| (a + lambda * x as f64).exp())
            .collect();
        let sum: f64 = terms.iter().sum();
        terms.iter().map(|term| term / sum).collect()
    };
    let mean = |lambda| weights(lambda).iter().enumerate().map(|(x, p)| x as f64 * p).sum::<f64>();
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if mean(middle) < 1.25 { low = middle } else { high = middle }
    }
    weights(low)
}

#[test]
fn an_offset_or_a_unit_changes_nothing() {
    let expected = expected();
    let same = |offset: f64, unit: f64| {
        let found = probabilities(offset, unit, 1.25);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-10, "{offset} {unit}: {found} for {expected}");
        }
    };
    for offset in [0.0, -0.0, 1e3, -1e6, 1e9, 1e12, -1e12, 1e15, -1e15] {
        same(offset, 1.0);
    }
    for exponent in [-1000, -500, -60, 60, 400] {
        same(0.0, 2f64.powi(exponent));
    }
    same(2f64.powi(-480), 2f64.powi(-520));
}

#[test]
fn a_constant_feature_is_told_from_one_that_varies() {
    let constraints = constraint(1e15, 0.0, 0.0);
    let measured =
        Measured::exact(&base(), base().space(), vec![()], &features(&constraints)).expect("measures");
    let error = measured.fit(&constraints, &FitConfig::default()).expect_err("constant");
    assert!(matches!(error, Error::ConstantFeature { value: 1e15, .. }), "{error}");
}

/// Samples in two contexts: coefficient, moments, their errors, `ln Z` up to the shift and KL.
#[test]
fn the_report_of_sampled_fits_has_no_offset() {
    let report = |offset: f64, unit: f64| {
        let x = feature("x", move |c: &u32, x: &u32| offset + unit * (f64::from(*x) + 0.5 * f64::from(*c)));
        let constraints = [Constraint::moment(x, offset + unit * 2.5).expect("finite")];
        let mut rng = StreamRng::seed_from_u64(5);
        let table = Space::new(0..5u32).expect("distinct").uniform();
        let measured =
            Measured::draw(&table, vec![0, 1], &features(&constraints), 500, &mut rng).expect("measures");
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
        let report = fit.report().clone();
        let one = &report.constraints[0];
        let lambda = one.coefficient.expect("a moment");
        assert!((one.achieved.value - offset - 2.5 * unit).abs() <= 1e-9 * unit + 1e-15 * offset);
        let skewness = one.achieved_skewness.expect("it varies");
        [
            lambda.value * unit,
            lambda.std_error * unit,
            one.achieved.std_error / unit,
            one.base.std_error / unit,
            skewness,
            report.kl_from_base.value,
            report.kl_from_base.std_error,
            report.ess.expect("sampled"),
        ]
    };
    let plain = report(0.0, 1.0);
    for (offset, unit) in [(1e6, 1.0), (1e12, 1.0), (1e15, 1.0), (0.0, 1e-200), (0.0, 1e100)] {
        for (found, expected) in report(offset, unit).iter().zip(plain) {
            assert!(
                (found - expected).abs() < 1e-8 * (1.0 + expected.abs()),
                "{offset} {unit}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_shifted_target_comes_back_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    for offset in [0.0, 1e12] {
        let constraints = constraint(offset, 1.0, 1.25);
        let measured =
            Measured::exact(&base(), base().space(), vec![()], &features(&constraints)).expect("measures");
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
        let path = folder.path().join("target.json");
        fit.save(&path).expect("writes");
        let written = std::fs::read_to_string(&path).expect("reads");
        assert_eq!(written.contains("\"shift\""), offset != 0.0, "files without an offset are as before");
        let bound = SavedTarget::load(&path).expect("reads").bind(features(&constraints)).expect("binds");
        assert_eq!(bound.tilt().shifts().collect::<Vec<_>>(), fit.tilt().shifts().collect::<Vec<_>>());
        let scores = |fit: &disco_ebm::Fit<(), u32>| {
            base().space().log_scores(&fit.target(base()), &()).expect("scores")
        };
        assert_eq!(scores(&bound), scores(&fit));
    }
}

/// A conditional mean of values beside which their distances are near rounding.
#[test]
fn conditional_means_have_no_offset() {
    let report = |offset: f64| {
        let x = feature("x", move |_: &(), x: &u32| offset + f64::from(u8::from(x.is_multiple_of(2))));
        let g = disco_core::predicate("low", |_: &(), x: &u32| *x < 3);
        let constraints = [Constraint::moment(x, offset + 0.25)
            .and_then(|one| one.given(std::sync::Arc::new(g)))
            .expect("a mean")];
        let measured =
            Measured::exact(&base(), base().space(), vec![()], &features(&constraints)).expect("measures");
        measured.fit(&constraints, &FitConfig::default()).expect("fits").report().clone()
    };
    let plain = report(0.0);
    for offset in [1e6, 1e10, -1e12] {
        let found = report(offset);
        let value = |report: &disco_ebm::FitReport| report.constraints[0].coefficient.expect("a mean").value;
        assert!((value(&found) - value(&plain)).abs() < 1e-9, "{offset}");
        assert!((found.log_z.value - plain.log_z.value).abs() < 1e-9, "{offset}");
        assert!((found.kl_from_base.value - plain.kl_from_base.value).abs() < 1e-9, "{offset}");
    }
}
