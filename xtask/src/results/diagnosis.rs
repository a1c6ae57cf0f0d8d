//! How far a distribution is from a target, as its scored samples tell.

use disco_core::{Estimate, infinite};
use serde::Serialize;

use super::{
    QrsPoint,
    numbers::{grouped, plain, plus_minus, rate},
    table::aligned,
};
use crate::terminal::{cut, visible_line};

/// Samples of one distribution beside a target. Means over contexts are by their shares.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// The name of the samples.
    pub(crate) name: String,
    pub(crate) samples: usize,
    /// `ln Z` of the target, in nats.
    pub(crate) log_z: Estimate,
    /// The effective sample size of the importance weights.
    #[serde(with = "infinite::size")]
    pub(crate) ess: f64,
    pub(crate) features: Vec<DiagnosedFeature>,
    pub(crate) distances: Vec<DiagnosedDistance>,
    /// The divergence `KL(samples || base)` in nats.
    pub(crate) kl_from_base: Estimate,
    /// Acceptance rate and total variation of quasi-rejection sampling, by falling acceptance rate.
    pub(crate) curve: Vec<QrsPoint>,
    /// The samples with the largest importance weights.
    pub(crate) heaviest: Vec<HeavySample>,
    pub(crate) contexts: Vec<DiagnosedContext>,
    pub(crate) warnings: Vec<String>,
}

/// The mean of a measure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DiagnosedFeature {
    pub(crate) name: String,
    /// Of the samples as they are.
    pub(crate) samples: Estimate,
    /// Of the target, by importance weights.
    pub(crate) target: Estimate,
}

/// A divergence to the target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DiagnosedDistance {
    pub(crate) name: &'static str,
    pub(crate) formula: &'static str,
    pub(crate) estimate: Estimate,
}

/// A sample that carries much of the estimates.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HeavySample {
    pub(crate) context: String,
    pub(crate) text: String,
    /// Its share of the weights of its context.
    pub(crate) share: f64,
    #[serde(with = "infinite")]
    pub(crate) log_weight: f64,
}

/// The weights in one context.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DiagnosedContext {
    pub(crate) context: String,
    pub(crate) samples: usize,
    pub(crate) log_z: Estimate,
    #[serde(with = "infinite::size")]
    pub(crate) ess: f64,
    /// The share of the largest weight.
    pub(crate) largest_share: f64,
    /// The shape of the Pareto distribution that fits the tail of the weights (Vehtari et al. 2024); `None` for too few weights, or a tail
    /// without a spread.
    pub(crate) pareto_k: Option<f64>,
    pub(crate) total_variation: Estimate,
}

/// The number of contexts that the terminal shows.
const SHOWN_CONTEXTS: usize = 5;
/// The number of points of the curve that the terminal shows.
const SHOWN_POINTS: usize = 7;
/// The number of characters of a text on the terminal.
const SHOWN_TEXT: usize = 60;

impl Diagnosis {
    /// The numbers as tables for the terminal.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{}: {} samples, effective sample size {}, ln Z = {}\n\n",
            visible_line(&self.name),
            grouped(self.samples as u64),
            plain(self.ess),
            plus_minus(&self.log_z)
        );
        let mut rows = vec![["feature", "samples", "target"].map(str::to_owned).to_vec()];
        for feature in &self.features {
            rows.push(vec![
                visible_line(&feature.name),
                plus_minus(&feature.samples),
                plus_minus(&feature.target),
            ]);
        }
        text.push_str(&aligned(&rows));
        text.push('\n');
        let mut rows = vec![vec!["distance to the target".to_owned(), String::new()]];
        for distance in &self.distances {
            rows.push(vec![distance.formula.to_owned(), plus_minus(&distance.estimate)]);
        }
        rows.push(vec!["KL to the base".into(), plus_minus(&self.kl_from_base)]);
        text.push_str(&aligned(&rows));
        text.push('\n');
        let mut rows = vec![["ln beta", "QRS accepts", "TV to the target"].map(str::to_owned).to_vec()];
        let step = self.curve.len().div_ceil(SHOWN_POINTS).max(1);
        for point in self.curve.iter().step_by(step) {
            rows.push(vec![
                plain(point.log_beta),
                rate(&point.acceptance_rate),
                plus_minus(&point.total_variation),
            ]);
        }
        text.push_str(&aligned(&rows));
        text.push('\n');
        let mut rows = vec![
            ["context", "samples", "ESS", "largest weight", "Pareto k", "TV"].map(str::to_owned).to_vec(),
        ];
        for context in self.contexts.iter().take(SHOWN_CONTEXTS) {
            rows.push(vec![
                cut(&visible_line(&context.context), SHOWN_TEXT),
                grouped(context.samples as u64),
                plain(context.ess),
                plain(context.largest_share),
                context.pareto_k.map_or_else(String::new, plain),
                plus_minus(&context.total_variation),
            ]);
        }
        text.push_str(&aligned(&rows));
        if self.contexts.len() > SHOWN_CONTEXTS {
            text.push_str(&format!(
                "and {} more contexts, which are nearer\n",
                self.contexts.len() - SHOWN_CONTEXTS
            ));
        }
        text.push_str("\nLargest weights:\n");
        for sample in &self.heaviest {
            let shown = cut(&visible_line(&sample.text), SHOWN_TEXT);
            text.push_str(&format!("  {:>8}  {shown}\n", plain(sample.share)));
        }
        for warning in &self.warnings {
            text.push_str(&format!("Note: {}\n", visible_line(warning)));
        }
        text
    }
}
