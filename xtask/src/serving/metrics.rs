//! Metrics of a server, in the text format of Prometheus.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::engine::EngineLoad;

/// The upper bounds of the histogram of a request's seconds.
const SECONDS: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// Counts since the server was started.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Answers by path and status.
    answers: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Finished requests for completions: by the seconds that they took, and the sum of the microseconds.
    seconds: [AtomicU64; SECONDS.len() + 1],
    microseconds: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    /// Requests whose client was gone before the end.
    abandoned: AtomicU64,
}

impl Metrics {
    pub(super) fn answered(&self, path: &'static str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((path, status)).or_insert(0) += 1;
    }

    pub(super) fn finished(&self, time: Duration) {
        let at = SECONDS.iter().position(|bound| time.as_secs_f64() <= *bound).unwrap_or(SECONDS.len());
        self.seconds[at].fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn abandoned(&self) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn prompt_tokens(&self, count: usize) {
        self.prompt_tokens.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn completion_token(&self) {
        self.completion_tokens.fetch_add(1, Ordering::Relaxed);
    }

    /// The metrics with those of the engine.
    pub(super) fn text(&self, load: EngineLoad) -> String {
        let mut text = String::new();
        let mut write = |name: &str, kind: &str, help: &str, lines: &[(String, f64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP disco_{name} {help}\n# TYPE disco_{name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(text, "disco_{name}{labels} {value}");
            }
        };
        let one = |value: f64| [(String::new(), value)];
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        write("requests_running", "gauge", "Requests that the engine draws for.", &one(load.running as f64));
        write(
            "requests_waiting",
            "gauge",
            "Requests that wait for a place in a batch.",
            &one(load.waiting as f64),
        );
        write("prompt_tokens_total", "counter", "Tokens of prompts.", &one(count(&self.prompt_tokens)));
        write(
            "completion_tokens_total",
            "counter",
            "Tokens that were drawn.",
            &one(count(&self.completion_tokens)),
        );
        write(
            "requests_abandoned_total",
            "counter",
            "Requests whose client was gone before the end.",
            &one(count(&self.abandoned)),
        );
        let answers: Vec<(String, f64)> = {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            let line = |((path, status), count): (&(&str, u16), &u64)| {
                (format!("{{path=\"{path}\",status=\"{status}\"}}"), *count as f64)
            };
            answers.iter().map(line).collect()
        };
        write("answers_total", "counter", "Answers by path and status.", &answers);
        let mut sum = 0.0;
        let mut seconds: Vec<(String, f64)> = Vec::new();
        let bounds = SECONDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
        for (bound, counter) in bounds.zip(&self.seconds) {
            sum += count(counter);
            seconds.push((format!("_bucket{{le=\"{bound}\"}}"), sum));
        }
        seconds.push(("_sum".into(), count(&self.microseconds) * 1e-6));
        seconds.push(("_count".into(), sum));
        write("request_seconds", "histogram", "Seconds of finished requests for completions.", &seconds);
        text
    }
}
