//! Intermediate targets: on the straight line from the moments without coefficients to those that are asked for.

use crate::{
    ConstraintKind, ContextErrors, Result, Tilt,
    problem::{Asked, Moment, Problem},
    split::Split,
};

/// The moments where the way to the targets begins: those of the known factors alone.
pub(crate) struct Start {
    overall: Vec<f64>,
    /// Of each context that has support, by its position; `None` where a condition never holds.
    by_context: Vec<(usize, Vec<Option<f64>>)>,
    /// The effective sample size there.
    pub(crate) ess: f64,
}

impl<C, X> Problem<'_, C, X> {
    /// The factor whose coefficients are all 0, but for fixed ones.
    fn untilted(&self) -> Result<Tilt<C, X>> {
        let contexts = self.possible_contexts();
        let own = contexts.map(|(context, _)| (context, vec![0.0; self.own_moments(context).len()]));
        self.tilt(&vec![0.0; self.shared_moments().len()], &own.collect::<Vec<_>>())
    }

    /// The moments without coefficients that are fitted.
    pub(crate) fn start(&self, errors: ContextErrors) -> Result<Start> {
        let weighed = self.weigh(&self.untilted()?, Split::All, errors)?;
        let overall = self.means_given(&weighed.strata, &weighed.rows)?;
        let in_context = |(c, rows): (usize, &(usize, Vec<usize>))| {
            let means = self.means(&weighed.strata.single(c), std::slice::from_ref(rows));
            (rows.0, means.into_iter().map(|mean| mean.map(|mean| mean.estimate.value)).collect())
        };
        Ok(Start {
            overall: overall.iter().map(|mean| mean.estimate.value).collect(),
            by_context: weighed.rows.iter().enumerate().map(in_context).collect(),
            ess: self.decisive_ess(weighed.strata.ess(), weighed.strata.least_ess()),
        })
    }

    /// The effective sample size that decides: where coefficients are per context, each context is a fit of its own.
    pub(crate) fn decisive_ess(&self, overall: f64, least: f64) -> f64 {
        if self.is_per_context() { least } else { overall }
    }

    /// This problem with targets that lie a fraction of the way from `start` to its own.
    pub(crate) fn towards(&self, start: &Start, fraction: f64) -> Result<Self> {
        let nearer = |i: usize, start: f64, moment: &Moment| {
            let target = start + fraction * (moment.target - start);
            // The factor of a conditional mean subtracts its target.
            let shift = if self.condition_column(i).is_some() { target } else { moment.shift };
            Moment { target, shift, ..*moment }
        };
        let asked = |(i, asked): (usize, &Asked)| match asked {
            Asked::Shared(moment) => Asked::Shared(nearer(i, start.overall[i], moment)),
            Asked::Each(each) => {
                let mut each = each.clone();
                for (context, means) in &start.by_context {
                    if let (Ok(moment), Some(start)) = (&mut each[*context], means[i]) {
                        *moment = nearer(i, start, moment);
                    }
                }
                Asked::Each(each)
            }
            Asked::Hard { .. } | Asked::Fixed { .. } => asked.clone(),
        };
        let asked: Vec<Asked> = self.asked.iter().enumerate().map(asked).collect();
        let constraint =
            |(constraint, asked): (&crate::Constraint<C, X>, &Asked)| match (asked, constraint.kind()) {
                (Asked::Shared(moment), ConstraintKind::Moment { tolerance, .. }) => {
                    constraint.with_target(moment.target, tolerance)
                }
                _ => Ok(constraint.clone()),
            };
        Ok(Self {
            measured: self.measured,
            constraints: self.constraints.iter().zip(&asked).map(constraint).collect::<Result<_>>()?,
            asked,
            columns: self.columns.clone(),
            built: self.built.clone(),
            keys: self.keys.clone(),
        })
    }
}
