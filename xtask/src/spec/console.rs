//! The table `[log.console]`: lines on the terminal while the policy is tuned.

use serde::{Deserialize, Serialize};

use super::{
    Allowed, Spec,
    allowed::{COUNT, TEXTS},
    document::Conflict,
    names::{hint, nearest},
    section::Section,
};

pub(super) const CONSOLE: &[&str] = &["every", "metrics"];

const EVERY: Allowed<u64> = Allowed {
    words: "a whole number from 0 (tuning shows nothing, not even its progress) to 1000000000",
    holds: |every| *every == 0 || (COUNT.holds)(every),
};

/// The metrics of every run.
const METRICS: [&str; 8] = [
    "kl_target_policy",
    "kl_policy_target",
    "tv_target_policy",
    "js_target_policy",
    "log_z",
    "entropy",
    "outside_mass",
    "length",
];
/// The metrics of samples, which listed choices do not have.
const OF_SAMPLES: [&str; 3] = ["ess", "ess_share", "largest_weight_share"];

/// The lines that tuning writes on the terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleSpec {
    /// The number of steps between lines; 0 where tuning shows nothing, not even its progress.
    pub every: usize,
    /// The metrics of a line; `None` for the mean of each feature, and the total variation to the target.
    pub metrics: Option<Vec<String>>,
}

/// Reads `[log.console]`.
pub(super) fn read_console(console: &Section<'_>) -> ConsoleSpec {
    ConsoleSpec {
        every: console.integer("every", &EVERY).unwrap_or(1) as usize,
        metrics: console.strings("metrics", &TEXTS),
    }
}

/// A metric of the console that the run does not have.
pub(super) fn console_conflicts(spec: &Spec, found: &mut Vec<Conflict>) {
    let console = spec.log.console.as_ref().filter(|_| spec.tune.steps > 0);
    let Some(metrics) = console.and_then(|console| console.metrics.as_ref()) else { return };
    let known = metric_names(spec);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for metric in metrics.iter().filter(|metric| !known.contains(&metric.as_str())) {
        let hint = hint(&nearest(metric, &known));
        let message = format!("has \"{metric}\", which the run does not measure{hint}");
        let fields = ["log.console.metrics", "tune.validation", "features", "model.choices"];
        found.push(Conflict::new(fields, message, known.join(", ")));
    }
}

/// The names of the metrics that the run has, and of two numbers of each step.
fn metric_names(spec: &Spec) -> Vec<String> {
    let mut names: Vec<String> = METRICS.map(str::to_owned).into();
    if spec.model.choices.is_none() {
        names.extend(OF_SAMPLES.map(str::to_owned));
    }
    for measure in spec.measures() {
        names.extend(["policy", "target"].map(|whose| format!("moment/{}/{whose}", measure.name)));
    }
    if spec.tune.validation.is_some() {
        let validated: Vec<String> = names.iter().map(|name| format!("validation/{name}")).collect();
        names.extend(validated);
    }
    names.extend(["gradient_norm", "learning_rate"].map(str::to_owned));
    names
}
