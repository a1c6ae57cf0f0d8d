//! The lines of `[log.console]`: an observer among the logs of a run.

use disco_core::Estimate;
use disco_tuner::{Control, Metric, Observer, ObserverError, StepReport};

use crate::{
    features::TextFeature,
    results::{plain, plus_minus},
    spec::ConsoleSpec,
    terminal::{ProgressLines, visible_line},
};

/// The metric that is shown beside the means where none is named.
const DISTANCE: &str = "tv_target_policy";

/// Says the latest values of the chosen metrics, with their standard errors, at every so many steps, and at the last.
pub(super) struct Console {
    every: u64,
    metrics: Vec<String>,
    /// The last value of each of them, in words: not all are measured at the same steps.
    latest: Vec<Option<String>>,
    lines: ProgressLines,
}

impl Console {
    /// An observer with the settings of a run file; `None` for one that says nothing.
    pub(super) fn new(spec: &ConsoleSpec, features: &[TextFeature], lines: ProgressLines) -> Option<Self> {
        let means = || features.iter().map(|feature| format!("moment/{}/policy", feature.name()));
        let metrics = match &spec.metrics {
            Some(metrics) => metrics.clone(),
            None => means().chain([DISTANCE.to_owned()]).collect(),
        };
        (spec.every > 0).then_some(Self {
            every: spec.every as u64,
            latest: vec![None; metrics.len()],
            metrics,
            lines,
        })
    }
}

impl Observer for Console {
    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        for (latest, name) in self.latest.iter_mut().zip(&self.metrics) {
            *latest = shown(name, report).or(latest.take());
        }
        if report.step.is_multiple_of(self.every) || report.step == report.steps {
            let shown: Vec<&str> = self.latest.iter().flatten().map(String::as_str).collect();
            // Nothing may be measured yet.
            if !shown.is_empty() {
                let (step, steps) = (report.step, report.steps);
                self.lines.say(format_args!("{:<16} step {step}/{steps}  {}", "tune", shown.join("  ")));
            }
        }
        Ok(Control::Continue)
    }
}

/// A number of a step by its name; `None` if the step does not have it.
fn shown(name: &str, report: &StepReport) -> Option<String> {
    let value = match name {
        "gradient_norm" => plain(report.gradient_norm),
        // Three decimals would hide it.
        "learning_rate" => format!("{:e}", report.learning_rate),
        _ => in_words(report.metrics.get(name)?),
    };
    Some(format!("{} {value}", visible_line(name)))
}

fn in_words(metric: &Metric) -> String {
    match metric.std_error {
        // Of samples: an error of 0 says that all of them are alike, not that the number is exact.
        Some(std_error) => plus_minus(&Estimate { value: metric.value, std_error, ess: 0.0 }),
        None => plain(metric.value),
    }
}
