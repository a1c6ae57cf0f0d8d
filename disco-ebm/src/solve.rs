//! The minimisation of the duals of a problem.
//!
//! Without shared moments the problem separates: each context is a fit of its own. With shared moments alone it is one dual
//! over all contexts. Where both are there, [`joint`] minimises over the shared coefficients what is left when each context's
//! own coefficients are at their minimum.

use ndarray::parallel::prelude::*;

use crate::{
    Dual, Result, Solution, Solver,
    duals::{Duals, Faults, InContext},
    joint,
    solved::Solved,
};

impl Duals {
    /// Minimises the duals, from `start` if it is given. What is wrong with single contexts is added to `faults`; the
    /// coefficients are of use only if there are none.
    pub(crate) fn solve(
        &self,
        solver: &Solver,
        start: Option<&Solved>,
        faults: &mut Faults,
    ) -> Result<Solved> {
        let own = self.contexts.iter().any(|context| context.dual.is_some());
        match &self.shared {
            Some(_) if own => joint::solve(self, solver, start, faults),
            Some(shared) => {
                let solution = converged(shared, solver, start.map(|start| start.shared.as_slice()))?;
                let mut solved = Solved::nothing(self.contexts.len());
                solved.shared = solution.coefficients;
                solved.iterations = solution.iterations;
                solved.termination = solution.termination;
                solved.residual = solution.residual;
                solved.redundant = solution.redundant;
                Ok(solved)
            }
            None => {
                let solve = |(index, context): (usize, &InContext)| {
                    let dual = context.dual.as_ref()?;
                    let start = start.map(|start| start.own[index].as_slice());
                    Some((index, converged(dual, solver, start)))
                };
                let found: Vec<_> = self.contexts.par_iter().enumerate().filter_map(solve).collect();
                let mut solved = Solved::nothing(self.contexts.len());
                for (index, solution) in found {
                    match solution {
                        Ok(solution) => solved.take(index, solution),
                        Err(error) => faults.push((self.contexts[index].position, error)),
                    }
                }
                Ok(solved)
            }
        }
    }
}

/// The minimiser of a dual; one that was not reached is an error.
fn converged(dual: &Dual, solver: &Solver, start: Option<&[f64]>) -> Result<Solution> {
    let solution = dual.solve_from(solver, start)?;
    if solution.termination.is_converged() {
        return Ok(solution);
    }
    let at = dual.at(ndarray::Array1::from(solution.coefficients) * &dual.standard.scale);
    Err(dual.missed(&at, solution.iterations))
}
