//! An observer that keeps all reports.

use super::{Control, Observer, ObserverError, StepReport};
use crate::metrics::Metric;

/// Keeps every report, for tests and for reports at the end of a run.
#[derive(Clone, Debug, Default)]
pub struct InMemory {
    reports: Vec<StepReport>,
}

impl InMemory {
    /// The reports, in order.
    pub fn reports(&self) -> &[StepReport] {
        &self.reports
    }

    /// A metric over the steps that report it: pairs of step and value.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (u64, Metric)> + 'a {
        self.reports.iter().filter_map(move |report| Some((report.step, *report.metrics.get(name)?)))
    }

    /// The latest value of a metric.
    pub fn last(&self, name: &str) -> Option<Metric> {
        self.series(name).last().map(|(_, metric)| metric)
    }
}

impl Observer for InMemory {
    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        self.reports.push(report.clone());
        Ok(Control::Continue)
    }
}
