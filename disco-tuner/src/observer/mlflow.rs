//! An observer that logs to an MLflow server.

use std::time::{SystemTime, UNIX_EPOCH};

use disco_core::Error as CoreError;
use serde_json::{Value, json};

use super::{Control, Observer, ObserverError, Outcome, StepReport, StopReason, http::Server};
use crate::{config::TunerConfig, error::Result};

/// The largest numbers of metrics and parameters in one request of `runs/log-batch`.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;
/// The largest size of the value of a tag, in bytes.
const TAG: usize = 5000;
/// The tag by which a resumed run finds its run on the server.
const NAME: &str = "disco.name";

/// The answer to a request, or its status and error.
type Answer = std::result::Result<Value, (u16, ObserverError)>;

/// Logs to an MLflow server over its REST interface: settings as parameters, metrics by step, shown samples as
/// artifacts `samples/step-N.txt`.
///
/// A tuning run that is resumed continues the latest run of its name in the experiment, and leaves out the steps that the
/// server has already. A run that ends is marked FINISHED, a run that an observer stopped KILLED, and a run that fails
/// FAILED, with the error message as the tag `disco.error`. (A process that is killed with -9 leaves its run RUNNING
/// until it is resumed.)
///
/// MLflow allows letters, digits, `_`, `-`, `.`, space, `:` and `/` in names; other characters become `_`. Numbers
/// that are not finite are left out. A request that fails, or a connection without data for ten seconds, is a failure of
/// the observer; wrap it in [`Background`](crate::Background) if that is too long to wait. It speaks plain HTTP only: for
/// a server beyond a trusted network, a proxy on this machine can add TLS.
#[derive(Debug)]
pub struct Mlflow {
    server: Server,
    experiment: String,
    name: String,
    run: Option<Run>,
}

#[derive(Debug)]
struct Run {
    id: String,
    /// The path for artifacts, if the server takes them itself.
    artifacts: Option<String>,
    /// The last step that the server has metrics of.
    logged: u64,
}

impl Run {
    /// Parses the field `run` of an answer.
    fn read(run: &Value) -> std::result::Result<Self, ObserverError> {
        let info = &run["info"];
        let artifacts = info["artifact_uri"].as_str().and_then(|uri| uri.strip_prefix("mlflow-artifacts:"));
        let steps = run["data"]["metrics"].as_array().into_iter().flatten();
        Ok(Self {
            id: info["run_id"].as_str().ok_or("MLflow gave no run id")?.to_owned(),
            artifacts: artifacts.map(str::to_owned),
            logged: steps.filter_map(|metric| metric["step"].as_u64()).max().unwrap_or(0),
        })
    }
}

impl Mlflow {
    /// A new run `name` in an experiment, which is made if there is none, on the server at `address`,
    /// `http://HOST[:PORT][/PATH]`. Nothing is sent before the tuning run starts.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for an address of another form.
    pub fn new(address: &str, experiment: impl Into<String>, name: impl Into<String>) -> Result<Self> {
        let server = Server::new(address)
            .ok_or_else(|| CoreError::invalid("address of MLflow", address, "http://HOST[:PORT][/PATH]"))?;
        Ok(Self { server, experiment: experiment.into(), name: name.into(), run: None })
    }

    /// The id of the run on the server; `None` before it has begun.
    pub fn run_id(&self) -> Option<&str> {
        self.run.as_ref().map(|run| run.id.as_str())
    }

    /// Posts to `/api/2.0/mlflow/PATH`. An answer that is not a success is an error with its text.
    fn post(&self, path: &str, body: &Value) -> std::result::Result<Value, ObserverError> {
        self.ask("POST", path, &serde_json::to_vec(body)?)?.map_err(|(_, error)| error)
    }

    /// Sends a request to `/api/2.0/mlflow/PATH`. An answer that is not a success is given as its status and an error.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> std::result::Result<Answer, ObserverError> {
        let path = format!("/api/2.0/mlflow/{path}");
        let (status, answer) = self.server.request(method, &path, "application/json", body)?;
        if status != 200 {
            let error = format!("MLflow, {path}: {status}: {}", String::from_utf8_lossy(&answer));
            return Ok(Err((status, error.into())));
        }
        Ok(Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer)? }))
    }

    /// The experiment's id. It is looked up by name, not searched: a search has no escape for an apostrophe.
    fn experiment(&self) -> std::result::Result<String, ObserverError> {
        let path = format!("experiments/get-by-name?experiment_name={}", percent_encoded(&self.experiment));
        let id = match self.ask("GET", &path, &[])? {
            Ok(found) => found["experiment"]["experiment_id"].clone(),
            Err((404, _)) => {
                self.post("experiments/create", &json!({ "name": self.experiment }))?["experiment_id"].take()
            }
            Err((_, error)) => return Err(error),
        };
        Ok(id.as_str().ok_or("MLflow gave no experiment id")?.to_owned())
    }

    /// The latest run of this name, marked as running again.
    fn resumed(&self, experiment: &str) -> std::result::Result<Option<Run>, ObserverError> {
        let search = json!({
            "experiment_ids": [experiment],
            "filter": format!("tags.`{NAME}` = '{}'", hexadecimal(&self.name)),
            "order_by": ["attributes.start_time DESC"],
            "max_results": 1,
        });
        let found = self.post("runs/search", &search)?;
        let Some(run) = found["runs"].get(0).map(Run::read).transpose()? else { return Ok(None) };
        self.post("runs/update", &json!({ "run_id": run.id, "status": "RUNNING" }))?;
        Ok(Some(run))
    }

    fn create(&self, experiment: &str, config: &TunerConfig) -> std::result::Result<Run, ObserverError> {
        let request = json!({
            "experiment_id": experiment,
            "run_name": self.name,
            "start_time": milliseconds(),
            "tags": [{ "key": NAME, "value": hexadecimal(&self.name) }],
        });
        let run = Run::read(&self.post("runs/create", &request)?["run"])?;
        let mut parameters = Vec::new();
        flatten("", &serde_json::to_value(config)?, &mut parameters);
        for part in parameters.chunks(PARAMETERS) {
            let params: Vec<Value> =
                part.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
            self.post("runs/log-batch", &json!({ "run_id": run.id, "params": params }))?;
        }
        Ok(run)
    }

    fn end(&self, status: &str) -> std::result::Result<(), ObserverError> {
        let request = json!({ "run_id": self.running()?.id, "status": status, "end_time": milliseconds() });
        self.post("runs/update", &request).map(drop)
    }

    fn running(&self) -> std::result::Result<&Run, ObserverError> {
        self.run.as_ref().ok_or_else(|| "the run on the server has not begun".into())
    }
}

impl Observer for Mlflow {
    fn start(&mut self, config: &TunerConfig, step: u64) -> std::result::Result<(), ObserverError> {
        let experiment = self.experiment()?;
        let resumed = if step > 0 { self.resumed(&experiment)? } else { None };
        self.run = Some(resumed.map_or_else(|| self.create(&experiment, config), Ok)?);
        Ok(())
    }

    fn step(&mut self, report: &StepReport) -> std::result::Result<Control, ObserverError> {
        let (run, now) = (self.running()?, milliseconds());
        if report.step <= run.logged {
            return Ok(Control::Continue);
        }
        // Metrics are sent last: a step whose metrics are on the server is complete there.
        if let (Some(artifacts), false) = (&run.artifacts, report.shown.is_empty()) {
            let shown =
                report.shown.iter().map(|sample| format!("context {}\n{}\n", sample.context, sample.text));
            let text = shown.collect::<Vec<_>>().join("\n");
            let path =
                format!("/api/2.0/mlflow-artifacts/artifacts{artifacts}/samples/step-{}.txt", report.step);
            let (status, answer) =
                self.server.request("PUT", &path, "text/plain; charset=utf-8", text.as_bytes())?;
            if status != 200 {
                return Err(format!("MLflow, {path}: {status}: {}", String::from_utf8_lossy(&answer)).into());
            }
        }
        let mut numbers = vec![
            ("gradient_norm".to_owned(), report.gradient_norm),
            ("learning_rate".to_owned(), report.learning_rate),
        ];
        numbers.extend(report.seconds.iter().map(|(stage, seconds)| (format!("seconds/{stage}"), *seconds)));
        numbers
            .extend(report.tokens.iter().map(|(stage, tokens)| (format!("tokens/{stage}"), *tokens as f64)));
        for (name, metric) in &report.metrics {
            numbers.push((name.clone(), metric.value));
            numbers.extend(metric.std_error.map(|error| (format!("{name}/std_error"), error)));
        }
        let entry = |(name, value): &(String, f64)| json!({ "key": allowed(name), "value": value, "timestamp": now, "step": report.step });
        let metrics: Vec<Value> = numbers.iter().filter(|pair| pair.1.is_finite()).map(entry).collect();
        for part in metrics.chunks(METRICS) {
            self.post("runs/log-batch", &json!({ "run_id": run.id, "metrics": part }))?;
        }
        Ok(Control::Continue)
    }

    fn finish(&mut self, outcome: &Outcome) -> std::result::Result<(), ObserverError> {
        self.end(if outcome.reason == StopReason::Observer { "KILLED" } else { "FINISHED" })
    }

    fn fail(&mut self, _: u64, error: &str) -> std::result::Result<(), ObserverError> {
        let Some(run) = &self.run else { return Ok(()) };
        let said = &error[..error.floor_char_boundary(TAG)];
        let tag = json!({ "run_id": run.id, "key": "disco.error", "value": said });
        let tagged = self.post("runs/set-tag", &tag);
        self.end("FAILED").and(tagged.map(drop))
    }
}

/// A form of a name without characters that a filter would have to escape.
fn hexadecimal(name: &str) -> String {
    name.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// A value for the query of an address, in which every byte but letters and digits is escaped.
fn percent_encoded(value: &str) -> String {
    let encoded = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(encoded).collect()
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}

/// A name with the characters that MLflow allows.
fn allowed(name: &str) -> String {
    let keep = |other: char| other.is_ascii_alphanumeric() || "_-. :/".contains(other);
    name.chars().map(|other| if keep(other) { other } else { '_' }).collect()
}

/// Adds the leaves of a value, each with its path.
fn flatten(path: &str, value: &Value, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, leaves);
            }
        }
        Value::String(text) => leaves.push((allowed(path), text.clone())),
        other => leaves.push((allowed(path), other.to_string())),
    }
}
