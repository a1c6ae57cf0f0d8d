//! The report: one HTML file that needs nothing else, readable in light and dark, and on a phone.

mod axis;
mod categories;
mod chart;
mod compare;
mod contexts;
mod figures;
mod files;
mod forest;
mod html;
mod labels;
mod page;
mod qrs;
mod rewards;
mod samples;
mod sections;
mod settings;
mod strip;
mod target;
mod ways;

pub use compare::render_comparison;
pub use files::FileLinks;
pub(crate) use files::REPORT;
use html::escape;
pub(crate) use page::is_report;

use super::record::RunRecord;

/// The whole report, with a section for each part of the record that there is. It is a function of the record: the same run gives the same
/// bytes.
pub fn render_report(record: &RunRecord) -> String {
    render_report_with(record, &FileLinks::default())
}

/// As [`render_report`], with links to the files of the run.
pub fn render_report_with(record: &RunRecord, links: &FileLinks) -> String {
    let sections = [
        Some(sections::moments(record)),
        categories::categories(record),
        rewards::rewards(record),
        contexts::contexts(record),
        contexts::held_out(record),
        ways::ways(record),
        sections::tuning(record),
        qrs::rejection(record),
        target::target(record),
        Some(settings::settings(record, links)),
        samples::samples(record),
    ];
    let sections: Vec<String> = sections.into_iter().flatten().collect();
    let kicker = format!("disco {} · report of a run", escape(&record.version));
    let content = format!("{}</header>\n{}", sections::lede(record), sections.join("\n"));
    page::page(&record.spec.title, &kicker, &content)
}
