//! Progress of a long stage: a bar on a terminal, a line every ten seconds elsewhere.

use std::{
    fmt::Display,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{output::say, visible::visible_line};

/// The place for progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressTarget {
    /// A bar that is redrawn, on standard error.
    Terminal,
    /// A line on standard error every ten seconds.
    Lines,
    /// Nowhere.
    Hidden,
}

impl ProgressTarget {
    /// A bar if standard error is a terminal, else lines.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Terminal } else { Self::Lines }
    }
}

/// Time between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The progress of one stage. It ends when dropped.
#[derive(Debug)]
pub struct Progress {
    target: ProgressTarget,
    bar: ProgressBar,
    name: &'static str,
    unit: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// A stage called `name` with `total` items, called `unit`.
    pub fn new(target: ProgressTarget, name: &'static str, unit: &'static str, total: usize) -> Self {
        let total = total as u64;
        let bar = if target == ProgressTarget::Terminal {
            let template = "{prefix:<16} {bar:28} {pos:>6}/{len} {unit} {per_sec:>12}  {eta:>4} left  {msg}";
            let style = ProgressStyle::with_template(&template.replace("{unit}", unit))
                .expect("the template is a constant")
                .progress_chars("━╸ ");
            let bar = ProgressBar::new(total).with_style(style).with_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        } else {
            ProgressBar::hidden()
        };
        let now = Instant::now();
        Self { target, bar, name, unit, total, done: 0, started: now, last_line: now }
    }

    /// Counts `count` more items as done; `message` is shown beside them.
    pub fn advance(&mut self, count: usize, message: impl FnOnce() -> String) {
        self.done += count as u64;
        match self.target {
            ProgressTarget::Terminal => {
                self.bar.set_message(visible_line(&message()));
                self.bar.inc(count as u64);
            }
            ProgressTarget::Lines if self.last_line.elapsed() >= BETWEEN_LINES => {
                self.last_line = Instant::now();
                let line = line(self.name, self.unit, self.done, self.total, self.started.elapsed());
                say(format_args!("{line}  {}", visible_line(&message())));
            }
            _ => {}
        }
    }
}

/// Lines that are said while a stage shows its progress.
#[derive(Clone, Debug)]
pub(crate) struct ProgressLines {
    target: ProgressTarget,
    bar: ProgressBar,
}

impl ProgressLines {
    /// Says a line where the progress is shown: above its bar, if there is one.
    pub(crate) fn say(&self, line: impl Display) {
        match self.target {
            ProgressTarget::Terminal => self.bar.suspend(|| say(line)),
            ProgressTarget::Lines => say(line),
            ProgressTarget::Hidden => {}
        }
    }
}

impl Progress {
    /// The place for other lines of the stage.
    pub(crate) fn lines(&self) -> ProgressLines {
        ProgressLines { target: self.target, bar: self.bar.clone() }
    }

    fn say_end(&self, seconds: f64) {
        say(format_args!("{:<16} {:>6} {} in {seconds:.1} s", self.name, self.done, self.unit));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let seconds = self.started.elapsed().as_secs_f64();
        match self.target {
            ProgressTarget::Terminal => {
                self.bar.finish_and_clear();
                self.say_end(seconds);
            }
            ProgressTarget::Lines => self.say_end(seconds),
            ProgressTarget::Hidden => {}
        }
    }
}

/// A line with the number of finished items, their rate, and the time that the others will take.
fn line(name: &str, unit: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let left = total.saturating_sub(done) as f64 / rate.max(f64::MIN_POSITIVE);
    format!("{name:<16} {done:>6}/{total} {unit}  {rate:.1}/s  {left:.0} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let text = line("tune", "steps", 10, 40, Duration::from_secs(20));
        assert_eq!(text, "tune                 10/40 steps  0.5/s  60 s left");
    }
}
