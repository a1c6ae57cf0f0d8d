//! The maximum-entropy rows of the golden file.

use std::sync::Arc;

use disco_core::{Feature, Space, Table, feature, predicate};
use disco_ebm::Constraint;
use serde::Deserialize;

/// Exact sums agree this well with the golden values.
pub(crate) const EXACT: f64 = 1e-9;
/// Coefficients, which the golden file has from a solver, agree this well.
pub(crate) const COEFFICIENTS: f64 = 1e-7;

#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) maximum_entropy: Vec<Row>,
    pub(crate) maximum_entropy_contexts: Contexts,
}

/// Outcomes `0..n` with a base, a support that a pointwise constraint asks for, and moments.
#[derive(Clone, Deserialize)]
pub(crate) struct Row {
    pub(crate) n: usize,
    pub(crate) base_log_probs: Vec<f64>,
    pub(crate) features: Vec<Vec<f64>>,
    pub(crate) support: Vec<bool>,
    pub(crate) target_moments: Vec<f64>,
    pub(crate) base_moments: Vec<f64>,
    pub(crate) coefficients: Vec<f64>,
    pub(crate) log_z: f64,
    pub(crate) kl_target_base: f64,
}

/// The same features in several contexts of equal weight, each with its own base.
#[derive(Clone, Deserialize)]
pub(crate) struct Contexts {
    pub(crate) n: usize,
    pub(crate) contexts_base_log_probs: Vec<Vec<f64>>,
    pub(crate) features: Vec<Vec<f64>>,
    pub(crate) target_moments: Vec<f64>,
    pub(crate) coefficients: Vec<f64>,
}

impl Golden {
    /// The file in the folder that `DISCO_GOLDEN` names, or the copy in the repository.
    pub(crate) fn read() -> Self {
        let folder = std::env::var("DISCO_GOLDEN")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../golden").into());
        let path = std::path::Path::new(&folder).join("exact.json");
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).expect("the golden file has the expected form")
    }
}

impl Row {
    pub(crate) fn base(&self) -> Table<usize> {
        let space = Space::new(0..self.n).expect("distinct outcomes");
        Table::from_log_probs(space, self.base_log_probs.clone()).expect("normalised")
    }

    /// The support as a pointwise constraint, if it excludes anything, and the moments.
    pub(crate) fn constraints<C: 'static>(&self) -> Vec<Constraint<C, usize>> {
        let mut constraints = moments(&self.features, &self.target_moments);
        if self.support.contains(&false) {
            let support = self.support.clone();
            constraints.push(Constraint::pointwise(predicate("in the support", move |_: &C, x: &usize| {
                support[*x]
            })));
        }
        constraints
    }
}

pub(crate) fn moments<C: 'static>(features: &[Vec<f64>], targets: &[f64]) -> Vec<Constraint<C, usize>> {
    let moment = |(i, target): (usize, &f64)| {
        let values: Vec<f64> = features.iter().map(|row| row[i]).collect();
        let column: Arc<dyn Feature<C, usize>> =
            Arc::new(feature(format!("feature {i}"), move |_: &C, x: &usize| values[*x]));
        Constraint::moment(column, *target).expect("finite")
    };
    targets.iter().enumerate().map(moment).collect()
}

/// One table per context.
pub(crate) struct Tables(pub Vec<Table<usize>>);

impl disco_core::Scorer<usize, usize> for Tables {
    fn log_scores(&self, context: &usize, samples: &[&usize]) -> disco_core::Result<Vec<disco_core::Score>> {
        self.0[*context].log_scores(context, samples)
    }
}

impl disco_core::Distribution<usize, usize> for Tables {
    fn sample(
        &self,
        context: &usize,
        streams: &disco_core::Streams,
    ) -> disco_core::Result<Vec<disco_core::Sampled<usize>>> {
        self.0[*context].sample(context, streams)
    }
}

impl Contexts {
    pub(crate) fn base(&self) -> Tables {
        let space = Space::new(0..self.n).expect("distinct outcomes");
        let table = |log_probs: &Vec<f64>| {
            Table::from_log_probs(space.clone(), log_probs.clone()).expect("normalised")
        };
        Tables(self.contexts_base_log_probs.iter().map(table).collect())
    }
}

#[track_caller]
pub(crate) fn close(what: &str, actual: f64, expected: f64, tolerance: f64) {
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: {actual}, expected {expected}, off by {:e}",
        (actual - expected).abs()
    );
}

/// Within four standard errors: for one normal estimate, missed with probability 6e-5.
#[track_caller]
pub(crate) fn within_errors(what: &str, estimate: disco_core::Estimate, expected: f64) {
    assert!(
        (estimate.value - expected).abs() <= 4.0 * estimate.std_error,
        "{what}: {} with standard error {}, expected {expected}",
        estimate.value,
        estimate.std_error
    );
}
