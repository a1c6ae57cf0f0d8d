//! An observer that draws progress on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use super::{Control, Observer, ObserverError, Outcome, StepReport};
use crate::config::TunerConfig;

/// A progress bar with rate, remaining time and the latest values of some metrics. If standard error is not a terminal,
/// it prints a line at every measured step instead.
#[derive(Debug)]
pub struct Console {
    bar: ProgressBar,
    metrics: Vec<String>,
}

impl Console {
    /// A progress bar that shows these [metrics](crate::Metrics), as soon as a step reports them.
    pub fn new<S: Into<String>>(metrics: impl IntoIterator<Item = S>) -> Self {
        Self { bar: ProgressBar::no_length(), metrics: metrics.into_iter().map(Into::into).collect() }
    }

    fn message(&self, report: &StepReport) -> String {
        let shown = self.metrics.iter().filter_map(|name| {
            let metric = report.metrics.get(name)?;
            let error = metric.std_error.map(|error| format!(" ± {error:.2}")).unwrap_or_default();
            Some(format!("{name} {:.4}{error}", metric.value))
        });
        shown.collect::<Vec<_>>().join(", ")
    }
}

impl Observer for Console {
    fn start(&mut self, config: &TunerConfig, step: u64) -> Result<(), ObserverError> {
        let style =
            ProgressStyle::with_template("tuning {bar:30} {pos}/{len} [{elapsed} < {eta}, {per_sec}] {msg}")?;
        self.bar.set_style(style);
        self.bar.set_length(config.steps);
        self.bar.set_position(step);
        self.bar.reset_eta();
        Ok(())
    }

    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        self.bar.set_position(report.step);
        if !report.metrics.is_empty() {
            let message = self.message(report);
            if self.bar.is_hidden() {
                eprintln!("step {}/{}: {message}", report.step, report.steps);
            }
            self.bar.set_message(message);
        }
        Ok(Control::Continue)
    }

    fn finish(&mut self, _: &Outcome) -> Result<(), ObserverError> {
        self.bar.abandon();
        Ok(())
    }
}
