//! An observer that keeps all reports.

use crate::{Control, Metric, Observer, ObserverError, Report};

/// Keeps every report, for tests and for reports at the end of a run.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    reports: Vec<Report>,
}

impl Memory {
    /// The reports, in order.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// A metric over the steps that have it: pairs of step and number.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (u64, Metric)> + 'a {
        self.reports.iter().filter_map(move |report| Some((report.step, *report.metrics.get(name)?)))
    }

    /// The latest number of a metric.
    pub fn last(&self, name: &str) -> Option<Metric> {
        self.series(name).last().map(|(_, metric)| metric)
    }
}

impl Observer for Memory {
    fn step(&mut self, report: &Report) -> Result<Control, ObserverError> {
        self.reports.push(report.clone());
        Ok(Control::Continue)
    }
}
