//! Shared moments together with moments per context.
//!
//! The dual is jointly convex in the shared coefficients `s` and the own coefficients `o_c` of each context:
//!
//! ```text
//! g(s, o) = sum_c t_c (ln Z_c(s, o_c) - o_c . mu_c) - s . mu
//! ```
//!
//! Its Hessian is an arrow: the own coefficients of two contexts meet only through the shared ones. So the minimum over all
//! `o_c` at a given `s` is one small problem for each context, and the minimum over `s` of what is left, the profile `h(s) =
//! min_o g(s, o)`, is a convex problem of as many unknowns as there are shared moments. Its gradient is that of `g`, and its
//! Hessian the Schur complement `H_ss - sum_c H_sc H_cc^-1 H_cs`. Newton's method on the profile finds the minimiser of `g`
//! itself; nothing is approximated. The small problems are solved by the same code as fits of single contexts, with all of its
//! safeguards, so that the only new thing is the outer loop. A step costs a few passes over the points and memory of
//! `(shared + own per context)^2`, however many contexts there are; the full Hessian of 1,000 contexts with 3 moments each would
//! have 9 million entries.

use ndarray::{Array1, Axis, Slice, parallel::prelude::*};

use crate::{
    Dual, Error, Result, Solver, Termination,
    arrow::{Arrow, contradiction},
    dual::At,
    duals::{Duals, Faults},
    feasibility::{self, BOUNDARY},
    linalg::Cholesky,
    proximal,
    solved::Solved,
};

/// The largest range of scores (nats) that a step is first tried with.
const LONGEST_STEP: f64 = 20.0;
/// A step of this range (nats) leaves an error of about its square.
const SETTLED: f64 = 1e-6;
/// A residual above this share of the last one is no better.
pub(crate) const IMPROVED: f64 = 0.9;

/// The own dual of a context without its redundant features.
struct Own {
    dual: Dual,
    /// The weights without the factor of the shared moments.
    log_weights: Array1<f64>,
    /// The positions of its features among all own features of the context.
    kept: Vec<usize>,
}

pub(crate) struct Joint<'a> {
    duals: &'a Duals,
    solver: &'a Solver,
    /// Without redundant features.
    pub(crate) shared: Dual,
    kept: Vec<usize>,
    /// The weights of the shared dual without the factors of own moments.
    log_weights: Array1<f64>,
    own: Vec<Option<Own>>,
}

/// A point of the profile: the own coefficients are at their minimum.
pub(crate) struct Point {
    pub(crate) at: At,
    own: Vec<Option<At>>,
}

/// Minimises the joint dual.
pub(crate) fn solve(
    duals: &Duals,
    solver: &Solver,
    start: Option<&Solved>,
    faults: &mut Faults,
) -> Result<Solved> {
    solver.validate()?;
    let shared = duals.shared.as_ref().expect("there are shared moments");
    feasibility::check_features(shared)?;
    let mut solved = Solved::nothing(duals.contexts.len());
    let Some(own) = own_duals(duals, solver, &mut solved) else {
        return Ok(duals.solve_own(solver, None, faults));
    };
    let references: Vec<Option<&Dual>> = own.iter().map(|own| own.as_ref().map(|own| &own.dual)).collect();
    let positions: Vec<usize> = duals.contexts.iter().map(|context| context.position).collect();
    solved.redundant = shared.redundant_beside(&references, &positions, solver.tolerance)?;
    let is_kept = |i: &usize| solved.redundant.iter().all(|one| one.feature != shared.targets[*i].name);
    let kept: Vec<usize> = (0..shared.dimension()).filter(is_kept).collect();
    let log_weights = shared.log_weights.clone();
    let mut joint = Joint { duals, solver, shared: shared.select(&kept), kept, log_weights, own };
    joint.minimise(start, solved, faults)
}

/// The own dual of each context, without its redundant features; `None` if something is wrong with one.
fn own_duals(duals: &Duals, solver: &Solver, solved: &mut Solved) -> Option<Vec<Option<Own>>> {
    let mut own = Vec::with_capacity(duals.contexts.len());
    for (index, context) in duals.contexts.iter().enumerate() {
        let Some(dual) = &context.dual else {
            own.push(None);
            continue;
        };
        let redundant =
            feasibility::check_features(dual).and_then(|()| dual.redundant(solver.tolerance)).ok()?;
        let is_kept = |i: &usize| redundant.iter().all(|one| one.feature != dual.targets[*i].name);
        let kept: Vec<usize> = (0..dual.dimension()).filter(is_kept).collect();
        let dual = dual.select(&kept);
        solved.own_redundant[index] = redundant;
        own.push(Some(Own { log_weights: dual.log_weights.clone(), dual, kept }));
    }
    Some(own)
}

impl Joint<'_> {
    fn minimise(
        &mut self,
        start: Option<&Solved>,
        mut solved: Solved,
        faults: &mut Faults,
    ) -> Result<Solved> {
        let lambda = match start {
            Some(start) => self.kept.iter().map(|&i| start.shared[i]).collect::<Array1<f64>>(),
            None => Array1::zeros(self.kept.len()),
        };
        let own = self.own.iter().enumerate().map(|(index, own)| match (own, start) {
            (Some(own), Some(start)) => own.kept.iter().map(|&i| start.own[index][i]).collect(),
            (Some(own), None) => vec![0.0; own.kept.len()],
            (None, _) => Vec::new(),
        });
        let own: Vec<Vec<f64>> = own.collect();
        let mut point = match self.profile(lambda * &self.shared.standard.scale, &own) {
            Ok(point) => point,
            // Whatever the shared coefficients are, what a context asks of itself is or is not within its reach.
            Err(failures) => {
                self.duals.solve_own(self.solver, None, faults);
                return if faults.is_empty() { Err(in_first(failures)) } else { Ok(solved) };
            }
        };
        let (mut iterations, mut last_residual) = (0, f64::INFINITY);
        let (termination, residual) = loop {
            let units = self.shared.hessian_at(&point.at).diag().mapv(f64::sqrt);
            let residual = self.shared.residual(&point.at, &units);
            if self.kept.is_empty() || residual == 0.0 {
                break (Termination::Converged, residual);
            }
            if iterations == self.solver.max_iterations {
                break (Termination::IterationLimit, residual);
            }
            let arrow = self.arrow(&point);
            let mut step = self.direction(&point, &arrow);
            let (mut range, linear, own_steps) = self.along(&arrow, &step);
            let settled = range <= SETTLED;
            if residual <= self.solver.tolerance && (settled || !(residual < IMPROVED * last_residual)) {
                if !settled {
                    self.check_direction(&step, &linear, &own_steps)?;
                }
                let next = self.profile(&point.at.lambda + &step, &self.raw(&point)).map_err(in_first)?;
                let better = self.shared.residual(&next.at, &units);
                if better < residual {
                    point = next;
                }
                break (Termination::Converged, residual.min(better));
            }
            self.check_direction(&step, &linear, &own_steps)?;
            last_residual = residual;
            if range > LONGEST_STEP {
                step *= LONGEST_STEP / range;
                range = LONGEST_STEP;
            }
            iterations += 1;
            match self.search(&point, &step, range <= 0.1)? {
                Some(next) => point = next,
                None => break (Termination::Stalled, residual),
            }
        };
        let converged = residual <= self.solver.tolerance || self.shared.is_rounding(&point.at);
        if !termination.is_converged() && !converged {
            return Err(self.shared.missed(&point.at, iterations));
        }
        solved.iterations = iterations;
        solved.termination = Termination::Converged;
        solved.residual = residual;
        solved.shared = vec![0.0; self.duals.shared.as_ref().map_or(0, Dual::dimension)];
        let raw = &point.at.lambda / &self.shared.standard.scale;
        self.kept.iter().zip(&raw).for_each(|(&i, value)| solved.shared[i] = *value);
        for (index, raw) in self.raw(&point).into_iter().enumerate() {
            let Some(own) = &self.own[index] else { continue };
            let context = &self.duals.contexts[index];
            solved.own[index] = vec![0.0; context.constraints.len()];
            own.kept.iter().zip(raw).for_each(|(&i, value)| solved.own[index][i] = value);
        }
        Ok(solved)
    }

    /// The point of the profile at standardised shared coefficients; the own coefficients are looked for from `start`. Fails with
    /// what is wrong in the contexts whose own problem could not be solved.
    pub(crate) fn profile(
        &mut self,
        lambda: Array1<f64>,
        start: &[Vec<f64>],
    ) -> std::result::Result<Point, Faults> {
        let linear = self.shared.linear(&lambda);
        let (starts, solver, contexts) = (&self.shared.starts, self.solver, &self.duals.contexts);
        let solve = |(index, own): (usize, &mut Option<Own>)| {
            let Some(own) = own else { return Ok(None) };
            let rows = starts[index]..starts[index + 1];
            own.dual.log_weights = &own.log_weights + &linear.slice_axis(Axis(0), Slice::from(rows));
            if own.kept.is_empty() {
                return Ok(Some(own.dual.at(Array1::zeros(0))));
            }
            let solution = own.dual.minimise(solver, Some(&start[index]));
            let at =
                |coefficients: Vec<f64>| own.dual.at(Array1::from(coefficients) * &own.dual.standard.scale);
            match solution {
                Ok(found) if found.termination.is_converged() => Ok(Some(at(found.coefficients))),
                Ok(found) => {
                    let iterations = found.iterations;
                    Err((index, own.dual.missed(&at(found.coefficients), iterations)))
                }
                Err(error) => Err((index, error)),
            }
        };
        let found: Vec<std::result::Result<Option<At>, (usize, Error)>> =
            self.own.par_iter_mut().enumerate().map(solve).collect();
        let (mut own, mut failures) = (Vec::with_capacity(found.len()), Vec::new());
        for one in found {
            match one {
                Ok(at) => own.push(at),
                Err((index, error)) => failures.push((contexts[index].position, error)),
            }
        }
        if !failures.is_empty() {
            return Err(failures);
        }
        self.shared.log_weights.assign(&self.log_weights);
        for (index, at) in own.iter().enumerate() {
            if let Some(at) = at {
                let rows = starts[index]..starts[index + 1];
                let mut weights = self.shared.log_weights.slice_axis_mut(Axis(0), Slice::from(rows));
                weights += &at.linear;
            }
        }
        Ok(Point { at: self.shared.at(lambda), own })
    }

    /// The own coefficients of a point, of features as they are.
    pub(crate) fn raw(&self, point: &Point) -> Vec<Vec<f64>> {
        let raw = |(own, at): (&Option<Own>, &Option<At>)| match (own, at) {
            (Some(own), Some(at)) => (&at.lambda / &own.dual.standard.scale).to_vec(),
            _ => Vec::new(),
        };
        self.own.iter().zip(&point.own).map(raw).collect()
    }

    fn arrow(&self, point: &Point) -> Arrow {
        let own = self.own.iter().zip(&point.own);
        let own: Vec<_> = own.map(|(own, at)| own.as_ref().map(|own| &own.dual).zip(at.as_ref())).collect();
        Arrow::new(&self.shared, &point.at, &own)
    }

    fn direction(&self, point: &Point, arrow: &Arrow) -> Array1<f64> {
        let tolerances = self.shared.tolerances();
        if tolerances.iter().any(|tolerance| *tolerance > 0.0) {
            return proximal::step(&arrow.schur, &point.at.gradient, &point.at.lambda, &tolerances);
        }
        let step = Cholesky::shifted(&arrow.schur).map(|factor| -factor.solve(&point.at.gradient));
        step.filter(|step| step.iter().all(|value| value.is_finite())).unwrap_or_else(|| -&point.at.gradient)
    }

    /// The change of the scores along a step of the shared coefficients, with that of the own coefficients that follows it: the
    /// largest range in a context, the change for each point, and the steps of the own coefficients.
    fn along(&self, arrow: &Arrow, step: &Array1<f64>) -> (f64, Array1<f64>, Vec<Array1<f64>>) {
        let mut linear = self.shared.linear(step);
        let mut own_steps = Vec::with_capacity(self.own.len());
        for (index, own) in self.own.iter().enumerate() {
            let own_step = arrow.response(index, step);
            if let Some(own) = own {
                let rows = self.shared.starts[index]..self.shared.starts[index + 1];
                let mut linear = linear.slice_axis_mut(Axis(0), Slice::from(rows));
                linear += &own.dual.linear(&own_step);
            }
            own_steps.push(own_step);
        }
        (self.shared.largest_range(&linear), linear, own_steps)
    }

    /// The direction does not separate the targets from what the samples allow.
    fn check_direction(
        &self,
        step: &Array1<f64>,
        linear: &Array1<f64>,
        own_steps: &[Array1<f64>],
    ) -> Result<()> {
        let shared = &self.shared;
        let (mut asked, mut unit) = (step.dot(&shared.standard.asked), shared.range_along(step));
        asked -= shared.box_penalty(step);
        for ((own, own_step), share) in self.own.iter().zip(own_steps).zip(&shared.shares) {
            if let Some(own) = own {
                let dual = &own.dual;
                asked += share * (own_step.dot(&dual.standard.asked) - dual.box_penalty(own_step));
                unit += share * dual.range_along(own_step);
            }
        }
        let beyond = asked - shared.reachable(linear);
        if shared.ridge > 0.0 || !(unit > 0.0 && unit.is_finite()) || beyond < -BOUNDARY * unit {
            return Ok(());
        }
        let own: Vec<_> = self.own.iter().map(|own| own.as_ref().map(|own| &own.dual)).collect();
        Err(contradiction(shared, &own, &self.positions(), step, own_steps, beyond))
    }

    fn positions(&self) -> Vec<usize> {
        self.duals.contexts.iter().map(|context| context.position).collect()
    }
}

/// The error of the first context that failed.
pub(crate) fn in_first(failures: Faults) -> Error {
    let (context, cause) = failures.into_iter().next().expect("some context failed");
    Error::InOneContext { context, cause: Box::new(cause) }
}
