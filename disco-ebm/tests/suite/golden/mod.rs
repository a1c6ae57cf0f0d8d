//! The maximum-entropy rows of the golden file.

use std::sync::Arc;

use disco_core::{Feature, PerContext, Space, Table, feature, predicate};
use disco_ebm::Constraint;
use serde::Deserialize;

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

/// These features in several contexts of equal weight, each with its own base.
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
        let mut golden: Self = serde_json::from_str(&text).expect("the golden file has the expected form");
        golden.maximum_entropy = golden.maximum_entropy.iter().map(Row::identified).collect();
        golden
    }
}

impl Row {
    pub(crate) fn base(&self) -> Table<usize> {
        let space = Space::new(0..self.n).expect("distinct outcomes");
        Table::from_log_probs(space, self.base_log_probs.clone()).expect("normalised")
    }

    /// The row without the features that are constant on the support, as a binary feature of few outcomes may be:
    /// the target is the same whatever their coefficients, which only enter ln Z.
    pub(crate) fn identified(&self) -> Self {
        let on_support =
            || self.features.iter().zip(&self.support).filter_map(|(row, kept)| kept.then_some(row));
        let first = on_support().next().expect("an outcome in the support");
        let varies = |&i: &usize| on_support().any(|row| row[i] != first[i]);
        let (kept, constant): (Vec<usize>, Vec<usize>) = (0..self.coefficients.len()).partition(varies);
        let take = |values: &Vec<f64>| kept.iter().map(|&i| values[i]).collect::<Vec<f64>>();
        let in_log_z: f64 = constant.iter().map(|&i| self.coefficients[i] * first[i]).sum();
        Self {
            features: self.features.iter().map(take).collect(),
            target_moments: take(&self.target_moments),
            base_moments: take(&self.base_moments),
            coefficients: take(&self.coefficients),
            log_z: self.log_z - in_log_z,
            ..self.clone()
        }
    }

    /// The support as a pointwise constraint, if it excludes anything, and the moments.
    ///
    /// The support is also asked for where nothing else is: there is always a constraint.
    pub(crate) fn constraints<C: 'static>(&self) -> Vec<Constraint<C, usize>> {
        let mut constraints = moments(&self.features, &self.target_moments);
        if self.support.contains(&false) || constraints.is_empty() {
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

impl Contexts {
    pub(crate) fn base(&self) -> PerContext<usize, Table<usize>> {
        let table = |log_probs: &Vec<f64>| {
            Table::from_log_probs(self.space(), log_probs.clone()).expect("normalised")
        };
        let tables = self.contexts_base_log_probs.iter().map(table);
        PerContext::new(tables.enumerate()).expect("distinct")
    }

    pub(crate) fn space(&self) -> Space<usize> {
        Space::new(0..self.n).expect("distinct outcomes")
    }

    pub(crate) fn contexts(&self) -> Vec<usize> {
        (0..self.contexts_base_log_probs.len()).collect()
    }
}
