//! Coefficients that minimise the duals of a problem.

use ndarray::parallel::prelude::*;

use crate::{
    Dual, Redundant, Result, Solution, Solver, Termination,
    duals::{Duals, Faults, InContext},
};

/// The coefficients of a problem.
#[derive(Clone, Debug)]
pub(crate) struct Solved {
    /// Of the shared moments.
    pub(crate) shared: Vec<f64>,
    /// Of each fitted context's own moments.
    pub(crate) own: Vec<Vec<f64>>,
    pub(crate) iterations: usize,
    pub(crate) termination: Termination,
    pub(crate) residual: f64,
    pub(crate) redundant: Vec<Redundant>,
    /// The features that are redundant among each fitted context's own.
    pub(crate) own_redundant: Vec<Vec<Redundant>>,
}

impl Solved {
    /// With no coefficient at all: nothing was to be solved.
    pub(crate) fn nothing(contexts: usize) -> Self {
        Self {
            shared: Vec::new(),
            own: vec![Vec::new(); contexts],
            iterations: 0,
            termination: Termination::ClosedForm,
            residual: 0.0,
            redundant: Vec::new(),
            own_redundant: vec![Vec::new(); contexts],
        }
    }

    /// Takes in the solution of a context's own dual.
    fn take(&mut self, context: usize, solution: Solution) {
        self.iterations = self.iterations.max(solution.iterations);
        self.residual = self.residual.max(solution.residual);
        if solution.termination != Termination::ClosedForm {
            self.termination = solution.termination;
        }
        self.own[context] = solution.coefficients;
        self.own_redundant[context] = solution.redundant;
    }

    /// All features that are redundant, each once.
    pub(crate) fn all_redundant(&self) -> Vec<Redundant> {
        let mut all = self.redundant.clone();
        for one in self.own_redundant.iter().flatten() {
            if all.iter().all(|other| other.feature != one.feature) {
                all.push(one.clone());
            }
        }
        all
    }
}

impl Duals {
    /// Minimises each context's own dual, as if nothing were shared. What is wrong with contexts is added to `faults`.
    pub(crate) fn solve_own(&self, solver: &Solver, start: Option<&Solved>, faults: &mut Faults) -> Solved {
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
        solved
    }
}

/// The minimiser of a dual; one that was not reached is an error.
pub(crate) fn converged(dual: &Dual, solver: &Solver, start: Option<&[f64]>) -> Result<Solution> {
    let solution = dual.solve_from(solver, start)?;
    if solution.termination.is_converged() {
        return Ok(solution);
    }
    let at = dual.at(ndarray::Array1::from(solution.coefficients) * &dual.standard.scale);
    Err(dual.missed(&at, solution.iterations))
}
