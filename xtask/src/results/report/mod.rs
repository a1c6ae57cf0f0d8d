//! The report: one HTML file that needs nothing else, readable in light and dark.

mod axis;
mod categories;
mod chart;
mod contexts;
mod figures;
mod html;
mod rewards;
mod sections;
mod strip;

use html::escape;

use super::record::RunRecord;

/// The whole report, with a section for each part of the record that there is. It is a function of the record: the same run gives
/// the same bytes.
pub fn render_report(record: &RunRecord) -> String {
    let title = escape(&record.spec.title);
    let sections = [
        Some(sections::moments(record)),
        categories::categories(record),
        rewards::rewards(record),
        contexts::contexts(record),
        contexts::held_out(record),
        sections::distances(record),
        sections::tuning(record),
        sections::rejection(record),
        sections::samples(record),
        sections::fit(record),
        Some(sections::settings(record)),
    ];
    let sections: Vec<String> = sections.into_iter().flatten().collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n\
         <header><p class=\"kicker\">disco {} · report of a run</p><h1>{title}</h1>{}</header>\n{}\n</main>\n</body>\n</html>\n",
        include_str!("style.css"),
        escape(record.version),
        sections::lede(record),
        sections.join("\n"),
    )
}
