//! An observer that logs to an MLflow server.

mod credentials;
mod http;
mod names;
mod requests;

use serde_json::json;

use super::{Control, Observer, ObserverError, Outcome, StepReport, StopReason};
use crate::{config::TunerConfig, error::Result};
use http::Server;
use names::Names;
use requests::{Run, SEARCHES, TAG, milliseconds};

/// The largest number of metrics in one request of `runs/log-batch`.
const METRICS: usize = 1000;
/// The tags for renamed keys, for warnings, and for metrics that were not logged.
const NAMES: &str = "disco.names";
const WARNINGS: &str = "disco.warnings";
const INCOMPLETE: &str = "disco.incomplete";

type Done<T> = std::result::Result<T, ObserverError>;

/// Logs to an MLflow server over its REST interface: settings as parameters, metrics by step, standard errors as
/// metrics `std_error/NAME`, shown samples as artifacts `samples/step-N.txt`.
///
/// A tuning run that is resumed continues the latest run of its name in the experiment, and leaves out the steps that
/// the server has already. A run that ends is marked FINISHED, a run that an observer stopped KILLED, and a run that
/// fails FAILED, with the error message as the tag `disco.error`. (A process that is killed with -9 leaves its run
/// RUNNING until it is resumed.) A run that ends while some of its steps were not logged whole has the tag
/// `disco.incomplete`, with their number and the first error.
///
/// # Names
/// MLflow takes letters, digits, `_`, `-`, `.`, space and `/` in the names of metrics and parameters, at most 250 of
/// them, and only names that are paths of one form. In other names a character becomes `_xHEX_`, with its number in
/// hexadecimal, and a longer name is cut and ends in a checksum. Different names stay different. The tag
/// `disco.names` is a JSON object with the name of each key that differs from it (continued in `disco.names.1` and so
/// on where it is long).
///
/// # Values
/// NaN is logged as NaN. An infinite number is left out, since servers with a database store another number for it,
/// and is named once in the tag `disco.warnings`, beside the warnings of the [reports](StepReport::warnings). The
/// value of a parameter is cut after 500 characters, and says so.
///
/// # The connection
/// A request that fails, or a connection without data for ten seconds, is a failure of the observer; wrap it in
/// [`Background`](crate::Background) if that is too long to wait. It speaks plain HTTP only: for a server beyond a
/// trusted network, a proxy on this machine can add TLS. User and password stand in the address or in the environment
/// variables `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, a token in `MLFLOW_TRACKING_TOKEN`. No
/// message contains them.
#[derive(Debug)]
pub struct Mlflow {
    server: Server,
    experiment: String,
    name: String,
    run: Option<Run>,
    names: Names,
    warnings: Vec<String>,
    /// The number of warnings that the server has.
    told: usize,
    /// The infinite metrics that have a warning.
    infinite: std::collections::BTreeSet<String>,
    /// The last step that was reported.
    reported: u64,
    lost: Lost,
}

/// The steps that were not logged whole.
#[derive(Debug, Default)]
struct Lost {
    steps: u64,
    first: Option<(u64, String)>,
}

impl Lost {
    fn add(&mut self, steps: u64, first: u64, why: &str) {
        self.steps += steps;
        self.first.get_or_insert_with(|| (first, why.to_owned()));
    }
}

impl Mlflow {
    /// A new run `name` in an experiment, which is made if there is none, on the server at `address`,
    /// `http://[USER:PASSWORD@]HOST[:PORT][/PATH]`. Nothing is sent before the tuning run starts.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for an address of another form, and for environment variables that name a user
    /// without a password, a token that no header can have, or a way of MLflow's client that this one does not know
    /// (`MLFLOW_TRACKING_AUTH`, `MLFLOW_TRACKING_AWS_SIGV4`).
    pub fn new(address: &str, experiment: impl Into<String>, name: impl Into<String>) -> Result<Self> {
        Ok(Self {
            server: Server::new(address, |name| std::env::var(name))?,
            experiment: experiment.into(),
            name: name.into(),
            run: None,
            names: Names::default(),
            warnings: Vec::new(),
            told: 0,
            infinite: Default::default(),
            reported: 0,
            lost: Lost::default(),
        })
    }

    /// The id of the run on the server; `None` before it has begun.
    pub fn run_id(&self) -> Option<&str> {
        self.run.as_ref().map(|run| run.id.as_str())
    }

    /// Logs one step; the first error is given when the rest was tried too.
    fn log(&mut self, report: &StepReport) -> Done<()> {
        let shown = self.log_shown(report);
        let now = milliseconds();
        self.warnings.extend(report.warnings.iter().cloned());
        let mut metrics = Vec::new();
        for (name, number) in report.numbers(["std_error/", ""]) {
            if number.is_infinite() {
                if self.infinite.insert(name.clone()) {
                    let step = report.step;
                    self.warnings.push(format!("step {step}: {name} is {number}, which is left out"));
                }
                continue;
            }
            let number = if number.is_nan() { json!("NaN") } else { json!(number) };
            let key = self.names.key(&name)?;
            metrics.push(json!({ "key": key, "value": number, "timestamp": now, "step": report.step }));
        }
        let mut told = Ok(());
        if self.names.has_new {
            told = self.set_tag(NAMES, &self.names.to_json());
            self.names.has_new = told.is_err();
        }
        if self.warnings.len() > self.told {
            let sent = self.set_tag(WARNINGS, &self.warnings.join("\n"));
            if sent.is_ok() {
                self.told = self.warnings.len();
            }
            told = told.and(sent);
        }
        // Metrics are sent last: a step whose metrics are on the server is complete there.
        let mut searches = SEARCHES;
        let logged = metrics.chunks(METRICS).map(|part| self.log_metrics(part, &mut searches));
        let logged = logged.fold(Ok(()), Result::and);
        shown.and(told).and(logged)
    }
}

impl Observer for Mlflow {
    fn start(&mut self, config: &TunerConfig, step: u64) -> Done<()> {
        let experiment = self.experiment()?;
        let resumed = if step > 0 { self.resumed(&experiment)? } else { None };
        let run = match resumed {
            Some(run) => {
                self.names.add_json(&run.tag(NAMES));
                self.warnings = run.tag(WARNINGS).lines().map(str::to_owned).collect();
                self.told = self.warnings.len();
                if run.logged < step {
                    let why = "an earlier part of the run did not log it";
                    self.lost.add(step - run.logged, run.logged + 1, why);
                }
                run
            }
            None => self.create(&experiment, config)?,
        };
        self.run = Some(run);
        self.reported = step;
        Ok(())
    }

    fn step(&mut self, report: &StepReport) -> Done<Control> {
        // Only reports that a full queue dropped are missing.
        let last = std::mem::replace(&mut self.reported, report.step);
        if report.step > last + 1 {
            self.lost.add(report.step - last - 1, last + 1, "its report did not reach the logger");
        }
        if report.step <= self.running()?.logged {
            return Ok(Control::Continue);
        }
        self.log(report).inspect_err(|error| self.lost.add(1, report.step, &error.to_string()))?;
        Ok(Control::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> Done<()> {
        let last = self.reported;
        if outcome.step > last {
            self.lost.add(outcome.step - last, last + 1, "its report did not reach the logger");
        }
        if let Some((step, why)) = &self.lost.first {
            let steps = self.lost.steps;
            let text = format!("steps that were not logged whole: {steps}; the first is step {step}: {why}");
            self.set_tag(INCOMPLETE, &text)?;
        }
        self.end(if outcome.reason == StopReason::Observer { "KILLED" } else { "FINISHED" })
    }

    fn fail(&mut self, _: u64, error: &str) -> Done<()> {
        if self.run.is_none() {
            return Ok(());
        }
        let tagged = self.set_tag("disco.error", &error[..error.floor_char_boundary(TAG)]);
        self.end("FAILED").and(tagged)
    }
}
