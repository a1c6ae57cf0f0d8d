//! An observer that draws progress on a terminal.

use std::io::Write;

use disco_core::terminal::is_obeyed;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Control, Observer, ObserverError, Outcome, StepReport};
use crate::config::TunerConfig;

/// A progress bar with rate, remaining time and the latest values of some metrics. If standard error is not a terminal,
/// it prints a line at every measured step instead. Warnings have a line of their own.
///
/// A control character in a name or warning is shown as `\u{..}`, so that no name can move the cursor or change colours.
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
            Some(format!("{} {:.4}{error}", visible(name), metric.value))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Prints a line above the bar, or to standard error where there is none.
    fn print(&self, line: &str) -> std::io::Result<()> {
        if self.bar.is_hidden() {
            return writeln!(std::io::stderr(), "{line}");
        }
        self.bar.println(line);
        Ok(())
    }
}

/// A text in which the characters that a terminal obeys are visible.
fn visible(text: &str) -> String {
    let shown = |character: char| match is_obeyed(character) {
        true => character.escape_unicode().to_string(),
        false => character.to_string(),
    };
    text.chars().map(shown).collect()
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
        for warning in &report.warnings {
            self.print(&format!("warning: {}", visible(warning)))?;
        }
        if !report.metrics.is_empty() {
            let message = self.message(report);
            if self.bar.is_hidden() {
                self.print(&format!("step {}/{}: {message}", report.step, report.steps))?;
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

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn nothing_reaches_a_terminal_but_visible_characters() {
        assert_eq!(visible("猫 é ± a\tb"), "猫 é ± a\\u{9}b");
        let hostile = "\u{1b}[31m\u{9b}2J\r\n\u{7f}\u{202e}";
        assert_eq!(visible(hostile), "\\u{1b}[31m\\u{9b}2J\\u{d}\\u{a}\\u{7f}\\u{202e}");
        // A mark without width, an annotation, a tag: text that hides or lies over other text.
        assert_eq!(visible("\u{feff}\u{fff9}\u{e0001}"), "\\u{feff}\\u{fff9}\\u{e0001}");
    }
}
