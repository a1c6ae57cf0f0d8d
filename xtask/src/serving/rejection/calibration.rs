//! The betas of contexts, each chosen from samples of the policy the first time that the context is asked for.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use disco_qrs::{Point, Ratios};
use serde_json::{Map, Value, json};

use crate::{Result, contexts::TextContext, serving::engine::Refusal, spec::QrsGoal};

/// The most contexts whose betas are remembered; then the oldest is forgotten.
const MOST: usize = 4096;

/// How many times as many proposals as are expected have to be allowed for a known bound to be used.
const MARGIN: f64 = 4.0;

/// How proposals are accepted in one context.
#[derive(Clone, Debug)]
pub(super) struct Calibration {
    pub(super) log_beta: f64,
    /// The bound of `ln P/q`, where it is known.
    pub(super) log_bound: Option<f64>,
    /// The acceptance rate that is expected; positive.
    pub(super) rate: f64,
    /// The facts for clients.
    pub(super) facts: Map<String, Value>,
}

impl Calibration {
    /// Chooses beta: the known bound, if the proposals that a completion may take suffice for it, else by the goal.
    ///
    /// # Errors
    /// Those of [`Ratios::choose`] and [`Ratios::with_bound`].
    pub(super) fn choose(
        ratios: Ratios,
        log_bound: Option<f64>,
        goal: QrsGoal,
        proposals: u64,
    ) -> Result<Self> {
        let ratios = match log_bound {
            Some(bound) => ratios.with_bound(0, bound)?,
            None => ratios,
        };
        let affordable = match log_bound {
            Some(bound) => {
                let rate = ratios.rejection_rate(bound)?.value;
                Some(bound).filter(|_| rate * proposals as f64 >= MARGIN)
            }
            None => None,
        };
        let log_beta = match (affordable, goal.of_ratios()) {
            (Some(log_beta), _) | (None, Err(log_beta)) => log_beta,
            (None, Ok(goal)) => ratios.choose(goal)?.log_beta,
        };
        let point = ratios.point(log_beta)?;
        Ok(Self {
            log_beta,
            log_bound,
            rate: point.acceptance_rate.value,
            facts: facts(&point, ratios.len()),
        })
    }
}

/// The diagnostics at a beta, for clients.
fn facts(point: &Point, samples: usize) -> Map<String, Value> {
    let warnings: Vec<String> = point.warnings.iter().map(ToString::to_string).collect();
    let facts = json!({
        "exact": point.certified,
        "log_beta": point.log_beta,
        "acceptance_rate": point.acceptance_rate,
        "total_variation": point.total_variation,
        // Where nothing was seen above beta, the estimate of the distance is 0, and this bounds it.
        "share_above_beta_at_most": if point.certified { 0.0 } else { point.above_at_most },
        "estimated_from": samples,
        "warnings": if point.certified { Vec::new() } else { warnings },
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}

/// The betas of the contexts that were asked for.
#[derive(Default)]
pub(super) struct Calibrations {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_context: HashMap<TextContext, Arc<Mutex<Option<Calibration>>>>,
    oldest: VecDeque<TextContext>,
}

impl Calibrations {
    /// The calibration of a context. `find` finds one that is not known; who asks meanwhile waits for it. An error is not remembered.
    ///
    /// # Errors
    /// Those of `find`.
    pub(super) fn of(
        &self,
        context: &TextContext,
        find: impl FnOnce() -> Result<Calibration, Refusal>,
    ) -> Result<Calibration, Refusal> {
        let place = self.place(context);
        let mut place = locked(&place);
        if let Some(found) = &*place {
            return Ok(found.clone());
        }
        Ok(place.insert(find()?).clone())
    }

    fn place(&self, context: &TextContext) -> Arc<Mutex<Option<Calibration>>> {
        let mut known = locked(&self.known);
        if let Some(place) = known.by_context.get(context) {
            return place.clone();
        }
        if known.oldest.len() >= MOST
            && let Some(oldest) = known.oldest.pop_front()
        {
            known.by_context.remove(&oldest);
        }
        known.oldest.push_back(context.clone());
        known.by_context.entry(context.clone()).or_default().clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
