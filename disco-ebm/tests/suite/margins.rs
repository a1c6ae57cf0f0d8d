//! Margins of tables (raking), whose constraints repeat each other, against iterative proportional fitting
//! (`reference/margins.py`).

use disco_ebm::{
    Constraint, ContextErrors, Dual, Error, EvaluatedSamples, FitConfig, Measured, MomentTarget, Solver,
    Warning,
};
use ndarray::Array2;
use serde::Deserialize;

const SHAPE: [usize; 3] = [4, 3, 5];

#[derive(Deserialize)]
struct Table {
    base: Vec<f64>,
    /// (row, column), (row, layer), (column, layer).
    margins: [Vec<f64>; 3],
    fitted: Vec<f64>,
}

fn table() -> Table {
    serde_json::from_str(include_str!("reference/margins.json")).expect("the expected form")
}

fn position(cell: usize) -> [usize; 3] {
    [cell / 15, cell / 5 % 3, cell % 5]
}

/// The indicators of the cells of all margins: names, values and targets.
fn indicators(table: &Table) -> (Vec<String>, Array2<f64>, Vec<f64>) {
    let pairs = [[0, 1], [0, 2], [1, 2]];
    let mut names = Vec::new();
    let mut cells = Vec::new();
    let mut targets = Vec::new();
    for (pair, margin) in pairs.into_iter().zip(&table.margins) {
        for (index, target) in margin.iter().enumerate() {
            let wide = SHAPE[pair[1]];
            names.push(format!("{}={} {}={}", pair[0], index / wide, pair[1], index % wide));
            cells.push((pair, [index / wide, index % wide]));
            targets.push(*target);
        }
    }
    let values = Array2::from_shape_fn((60, names.len()), |(cell, i)| {
        let (pair, at) = cells[i];
        f64::from(u8::from(pair.map(|axis| position(cell)[axis]) == at))
    });
    (names, values, targets)
}

fn measured(table: &Table) -> (Measured<usize, usize>, Vec<Constraint<usize, usize>>) {
    let (names, values, targets) = indicators(table);
    let base = table.base.iter().map(|p| p.ln()).collect();
    let points = EvaluatedSamples::exact(base, values).expect("points");
    let measured = Measured::from_matrices(names.clone(), vec![points]).expect("measures");
    let constraints = names
        .iter()
        .zip(targets)
        .map(|(name, target)| measured.moment(name, target).expect("a column"))
        .collect();
    (measured, constraints)
}

fn close(weights: &[f64], expected: &[f64], tolerance: f64) {
    for (cell, (found, expected)) in weights.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < tolerance, "cell {cell}: {found} for {expected}");
    }
}

#[test]
fn three_two_way_margins_are_fitted_at_once() {
    let table = table();
    let (measured, constraints) = measured(&table);
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let report = fit.report();
    close(&measured.target_weights(fit.tilt()).expect("weights")[0], &table.fitted, 1e-9);
    // 47 indicators, of a model with (4-1) + (3-1) + (5-1) + 6 + 12 + 8 = 35 parameters.
    assert_eq!(report.redundant.len(), 12);
    for one in &report.redundant {
        let found = report.constraints.iter().find(|found| found.feature == one.feature).expect("named");
        let coefficient = found.coefficient.expect("a moment");
        assert_eq!((coefficient.value, coefficient.std_error), (0.0, 0.0));
    }
    let told: Vec<_> = report
        .warnings()
        .into_iter()
        .filter(|warning| matches!(warning, Warning::Redundant { .. }))
        .collect();
    let [Warning::Redundant { dropped, others }] = told.as_slice() else { panic!("said once: {told:?}") };
    assert_eq!(dropped.len(), 12);
    assert!(others.iter().all(|other| !dropped.contains(other)));
    // Written and read again.
    let json = serde_json::to_string(report).expect("serialises");
    let read: disco_ebm::FitReport = serde_json::from_str(&json).expect("reads");
    assert_eq!(read.redundant.len(), 12);
}

#[test]
fn margins_of_samples_have_errors() {
    let table = table();
    let (names, values, targets) = indicators(&table);
    // 200 samples of each cell, with design weights that make them the base.
    let rows: Vec<usize> = (0..60).flat_map(|cell| std::iter::repeat_n(cell, 200)).collect();
    let weights: Vec<f64> = rows.iter().map(|&cell| table.base[cell] * 7.0).collect();
    let values = Array2::from_shape_fn((rows.len(), names.len()), |(row, i)| values[[rows[row], i]]);
    let points = EvaluatedSamples::with_design_weights(&weights, values).expect("points");
    let measured = Measured::from_matrices(names.clone(), vec![points]).expect("measures");
    let constraints: Vec<_> = names
        .iter()
        .zip(targets)
        .map(|(name, target)| measured.moment(name, target).expect("a column"))
        .collect();
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let mut cells = vec![0.0; 60];
    for (cell, weight) in rows.iter().zip(&measured.target_weights(fit.tilt()).expect("weights")[0]) {
        cells[*cell] += weight;
    }
    close(&cells, &table.fitted, 1e-9);
    let report = fit.report();
    assert!(report.log_z.std_error.is_finite() && report.kl_from_base.std_error.is_finite());
    for one in &report.constraints {
        let coefficient = one.coefficient.expect("a moment");
        let dropped = report.redundant.iter().any(|redundant| redundant.feature == one.feature);
        assert_eq!(coefficient.std_error == 0.0, dropped, "{}: {coefficient:?}", one.feature);
        assert!(one.achieved.std_error > 0.0 && one.achieved.std_error < 0.02, "{:?}", one.achieved);
    }
}

#[test]
fn margins_with_tolerances_and_a_ridge_drop_nothing() {
    let table = table();
    let (measured, constraints) = measured(&table);
    const TOLERANCE: f64 = 1e-3;
    let boxed: Vec<_> = constraints
        .iter()
        .map(|constraint| constraint.clone().within(TOLERANCE).expect("positive"))
        .collect();
    let fit = measured.fit(&boxed, &FitConfig::default()).expect("fits");
    assert!(fit.report().redundant.is_empty());
    // The conditions of optimality, which prove that this is the one answer: a coefficient is 0, or the moment is at the
    // end of its interval that the coefficient moved it to.
    for (one, asked) in fit.report().constraints.iter().zip(table.margins.iter().flatten()) {
        let (lambda, missed) = (one.coefficient.expect("a moment").value, asked - one.achieved.value);
        if lambda == 0.0 {
            assert!(missed.abs() < TOLERANCE + 1e-9, "{}: {missed}", one.feature);
        } else {
            assert!(
                (missed - TOLERANCE * lambda.signum()).abs() < 1e-9,
                "{}: {lambda} {missed}",
                one.feature
            );
        }
    }
    let ridged =
        measured.fit(&constraints, &FitConfig { ridge: 1e-9, ..FitConfig::default() }).expect("fits");
    assert!(ridged.report().redundant.is_empty());
    close(&measured.target_weights(ridged.tilt()).expect("weights")[0], &table.fitted, 1e-6);
}

#[test]
fn margins_that_contradict_each_other_are_named() {
    let mut table = table();
    // The first margin sums to 1.01, and so no longer agrees with the others.
    table.margins[0].iter_mut().for_each(|target| *target *= 1.01);
    let (measured, constraints) = measured(&table);
    match measured.fit(&constraints, &FitConfig::default()).expect_err("contradictory") {
        Error::OutsideHull { direction, target, reachable, .. } => {
            assert!(target - reachable > 1e-4, "{target} {reachable}");
            assert!(direction.iter().filter(|(_, factor)| factor.abs() > 1e-6).count() > 1);
        }
        other => panic!("{other}"),
    }
}

/// A full set of dummies and its errors, which are those of the set without one of them.
#[test]
fn the_errors_of_a_redundant_set_are_those_of_its_basis() {
    let values =
        |columns: usize| Array2::from_shape_fn((90, columns), |(x, i)| f64::from(u8::from(x % 3 == i)));
    let dual = |columns: usize| {
        let targets = [0.2, 0.3, 0.5].iter().take(columns).enumerate();
        let targets = targets
            .map(|(i, target)| MomentTarget { name: i.to_string(), target: *target, tolerance: 0.0 })
            .collect();
        let points = EvaluatedSamples::sampled(vec![0.0; 90], values(columns)).expect("points");
        Dual::new(targets, vec![points], None, 0.0).expect("a dual")
    };
    let (full, basis) = (dual(3), dual(2));
    let solved = full.solve(&Solver::default()).expect("inside");
    assert_eq!(solved.redundant.len(), 1);
    assert_eq!(solved.redundant[0].feature, "2");
    let alone = basis.solve(&Solver::default()).expect("inside");
    for i in 0..2 {
        assert!((solved.coefficients[i] - alone.coefficients[i]).abs() < 1e-12);
    }
    assert_eq!(solved.coefficients[2], 0.0);
    let covariance = full.covariance(&solved.coefficients, ContextErrors::Fixed).expect("a covariance");
    let expected = basis.covariance(&alone.coefficients, ContextErrors::Fixed).expect("a covariance");
    for i in 0..2 {
        for j in 0..2 {
            assert!((covariance[[i, j]] - expected[[i, j]]).abs() < 1e-12 * expected[[0, 0]]);
        }
    }
    assert_eq!(covariance[[2, 2]], 0.0);
}

/// Two outcomes of weights `e^-6.1` and `e^-4.4`, two features that repeat each other, one of which has a tolerance: the exact
/// one says the shares, `(target - 1) / 0.375`, and the other is within its tolerance. Likewise where both have a tolerance,
/// in a base that is far from it: the one that asks for more stays at its end.
#[test]
fn features_that_repeat_each_other_within_tolerances() {
    let measured = |log_weights: Vec<f64>, values: Array2<f64>| {
        let points = EvaluatedSamples::exact(log_weights, values).expect("points");
        Measured::from_matrices(["f0", "f1"], vec![points]).expect("measures")
    };
    let share = |measured: &Measured<usize, usize>, f0: (f64, f64), f1: (f64, f64)| {
        let asked = [("f0", f0), ("f1", f1)].map(|(name, (target, tolerance))| {
            measured.moment(name, target).and_then(|asked| asked.within(tolerance)).expect("finite")
        });
        let fit = measured.fit(&asked, &FitConfig::default()).expect("fits");
        assert!(fit.report().termination.is_converged());
        measured.target_weights(fit.tilt()).expect("weights")[0][1]
    };
    let near = measured(vec![-6.1, -4.4], ndarray::array![[0.0, 1.0], [1.0, 1.375]]);
    let target = 1.108_997_249_538_646_2;
    let expected = (target - 1.0) / 0.375;
    assert!((share(&near, (expected + 5e-7, 1e-6), (target, 0.0)) - expected).abs() < 1e-9);
    let far = measured(vec![-720.0, -1964.0], ndarray::array![[1.25, 4.875], [0.375, 0.0]]);
    // 1 - 0.875 s and 4.875 s of a share s: f0 allows 0.523 to 0.638, f1 allows 0.571 to 0.591 of the second outcome.
    let found = share(&far, (0.742, 0.05), (2.044, 0.05));
    assert!((found - (1.0 - (2.044 + 0.05) / 4.875)).abs() < 1e-7, "{found}");
}
