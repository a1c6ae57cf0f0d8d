//! The minimisation of the duals of a problem.
//!
//! Without shared moments the problem separates: each context is a fit of its own. With shared moments alone it is one dual
//! over all contexts. Where both are there, [`joint`] minimises over the shared coefficients what is left when each context's
//! own coefficients are at their minimum.

use crate::{
    Result, Solver,
    duals::{Duals, Faults},
    joint,
    solved::{Solved, converged},
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
            None => Ok(self.solve_own(solver, start, faults)),
        }
    }
}
