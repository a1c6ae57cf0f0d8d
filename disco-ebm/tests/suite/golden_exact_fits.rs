//! Exact enumeration: fits on whole spaces against the golden file.

use disco_ebm::{ContextErrors, FitConfig, Measured, features};

use crate::golden::{Golden, moments};

/// Exact sums agree this well with the golden values.
const EXACT: f64 = 1e-9;
/// Coefficients, which the golden file has from a solver, agree this well.
const COEFFICIENTS: f64 = 1e-7;

#[track_caller]
fn close(what: &str, actual: f64, expected: f64, tolerance: f64) {
    let off = (actual - expected).abs();
    assert!(off <= tolerance, "{what}: {actual}, expected {expected}, off by {off:e}");
}

#[test]
fn golden_rows_are_fitted_exactly() {
    for (index, row) in Golden::read().maximum_entropy.iter().enumerate() {
        let base = row.base();
        let constraints = row.constraints::<()>();
        let measured =
            Measured::exact(&base, base.space(), vec![()], &features(&constraints)).expect("measures");
        for (i, moment) in measured.base_moments(ContextErrors::Fixed).expect("weights").iter().enumerate() {
            if i < row.base_moments.len() {
                close(&format!("row {index}, base moment {i}"), moment.value, row.base_moments[i], EXACT);
                assert_eq!(moment.std_error, 0.0);
            }
        }
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
        let report = fit.report();
        assert!(report.termination.is_converged(), "{report:?}");
        for (i, expected) in row.coefficients.iter().enumerate() {
            let what = format!("row {index}, constraint {i}");
            let found = &report.constraints[i];
            close(&what, found.coefficient.expect("a moment").value, *expected, COEFFICIENTS);
            close(&what, found.achieved.value, row.target_moments[i], EXACT);
        }
        close(&format!("row {index}, ln Z"), report.log_z.value, row.log_z, EXACT);
        close(&format!("row {index}, KL"), report.kl_from_base.value, row.kl_target_base, EXACT);
        // The target as a scorer, summed over the space, says the same.
        let target = fit.target(&base);
        close("ln Z of the scorer", base.space().log_z(&target, &()).expect("scores"), row.log_z, EXACT);
    }
}

#[test]
fn golden_contexts_are_fitted_exactly() {
    let golden = Golden::read().maximum_entropy_contexts;
    let base = golden.base();
    let constraints = moments::<usize>(&golden.features, &golden.target_moments);
    let measured = Measured::exact(&base, &golden.space(), golden.contexts(), &features(&constraints))
        .expect("measures");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    for (i, (found, expected)) in fit.report().constraints.iter().zip(&golden.coefficients).enumerate() {
        close(
            &format!("coefficient {i}"),
            found.coefficient.expect("a moment").value,
            *expected,
            COEFFICIENTS,
        );
        close(&format!("moment {i}"), found.achieved.value, golden.target_moments[i], EXACT);
    }
}
