//! Small exact and sampled problems of every difficulty, against solutions in 450 digits (`reference/small_fits.py`).

use std::path::PathBuf;

use disco_ebm::{Error, EvaluatedSamples, FitConfig, Measured};
use ndarray::Array2;
use serde::Deserialize;

/// The issue's: probabilities and moments in absolute terms, coefficients (where the dual is curved) relative to them.
const RIGHT: f64 = 1e-7;

#[derive(Deserialize)]
struct Case {
    base: Vec<f64>,
    values: Vec<Vec<f64>>,
    targets: Vec<f64>,
    probabilities: Vec<f64>,
    coefficients: Option<Vec<f64>>,
    /// The proposal's log-probabilities and the number of samples of each outcome; absent for exact problems.
    proposal: Option<Vec<f64>>,
    counts: Option<Vec<usize>>,
}

impl Case {
    fn points(&self) -> EvaluatedSamples {
        let d = self.targets.len();
        let (Some(proposal), Some(counts)) = (&self.proposal, &self.counts) else {
            let values = Array2::from_shape_fn((self.base.len(), d), |(x, i)| self.values[x][i]);
            return EvaluatedSamples::exact(self.base.clone(), values).expect("points");
        };
        let drawn: Vec<usize> =
            counts.iter().enumerate().flat_map(|(x, count)| std::iter::repeat_n(x, *count)).collect();
        let log_weights = drawn.iter().map(|&x| self.base[x] - proposal[x]).collect();
        let values = Array2::from_shape_fn((drawn.len(), d), |(row, i)| self.values[drawn[row]][i]);
        EvaluatedSamples::sampled(log_weights, values).expect("points")
    }

    /// `Ok` if the fit is right, and the error of the fit if there is one.
    fn check(&self, index: usize) -> Result<(), Error> {
        let names = ["a", "b", "c"];
        let measured = Measured::from_matrices(names[..self.targets.len()].to_vec(), vec![self.points()])?;
        let constraints: Vec<_> = names
            .iter()
            .zip(&self.targets)
            .map(|(name, target)| measured.moment(name, *target).expect("a column"))
            .collect();
        let config = FitConfig { held_out: 0.0, min_ess: 0.0, ..FitConfig::default() };
        let fit = measured.fit(&constraints, &config)?;
        assert!(fit.report().termination.is_converged(), "case {index}");
        for (found, target) in fit.report().constraints.iter().zip(&self.targets) {
            let off = (found.achieved.value - target).abs();
            assert!(off < RIGHT, "case {index}: {} for {target}", found.achieved.value);
        }
        let mut probabilities = vec![0.0; self.base.len()];
        let rows = self.counts.as_ref().map_or_else(
            || (0..self.base.len()).collect::<Vec<_>>(),
            |counts| {
                counts.iter().enumerate().flat_map(|(x, count)| std::iter::repeat_n(x, *count)).collect()
            },
        );
        for (x, weight) in rows.into_iter().zip(&measured.target_weights(fit.tilt())?[0]) {
            probabilities[x] += weight;
        }
        for (found, expected) in probabilities.iter().zip(&self.probabilities) {
            assert!((found - expected).abs() < RIGHT, "case {index}: {found} for {expected}");
        }
        let coefficients =
            fit.report().constraints.iter().map(|one| one.coefficient.expect("a moment").value);
        for (found, expected) in coefficients.zip(self.coefficients.iter().flatten()) {
            let off = (found - expected).abs();
            assert!(off < RIGHT * (1.0 + expected.abs()), "case {index}: {found} for {expected}");
        }
        Ok(())
    }
}

fn check_each(path: PathBuf, step: usize) {
    let text = std::fs::read_to_string(&path).expect("the file with cases");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("the expected form");
    let errors: Vec<String> = (0..cases.len())
        .step_by(step)
        .filter_map(|index| cases[index].check(index).err().map(|error| format!("{index}: {error}")))
        .collect();
    assert!(errors.is_empty(), "{} of {}: {errors:#?}", errors.len(), cases.len() / step);
}

fn stored() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/reference/small_fits.json").into()
}

#[test]
fn two_hundred_small_problems_are_solved() {
    check_each(stored(), 5);
}

#[test]
#[ignore = "sweep: 1,000 small problems, or those of the file that DISCO_SMALL_FITS names, seconds"]
fn sweep_small_problems_are_solved() {
    check_each(std::env::var_os("DISCO_SMALL_FITS").map_or_else(stored, PathBuf::from), 1);
}
