//! Coefficients fitted to a split of the samples.

use crate::{FitConfig, Result, Tilt, duals::Duals, problem::Problem, solved::Solved, split::Split};

/// A fit to a split of the samples.
pub(crate) struct Fitted<C, X> {
    pub(crate) tilt: Tilt<C, X>,
    pub(crate) duals: Duals,
    pub(crate) solved: Solved,
}

impl<C, X> Problem<'_, C, X> {
    /// Fits the coefficients to a split of the samples, from `start` if it is given.
    pub(crate) fn fit(
        &self,
        split: Split,
        config: &FitConfig,
        start: Option<&Solved>,
    ) -> Result<Fitted<C, X>> {
        let (duals, mut faults) = self.duals(split, config)?;
        // A start belongs to contexts in their order.
        let start = start.filter(|start| start.own.len() == duals.contexts.len());
        // Contexts that are bad by themselves are listed with those that cannot be solved.
        let solved = if duals.shared.is_none() || faults.is_empty() {
            duals.solve(&config.solver, start, &mut faults)?
        } else {
            duals.solve_own(&config.solver, None, &mut faults)
        };
        self.refuse(faults)?;
        let own: Vec<(usize, Vec<f64>)> =
            duals.contexts.iter().map(|context| context.position).zip(solved.own.iter().cloned()).collect();
        Ok(Fitted { tilt: self.tilt(&solved.shared, &own)?, duals, solved })
    }
}
