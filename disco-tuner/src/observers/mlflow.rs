//! An observer that tells an MLflow server, over its REST interface.

use std::time::{SystemTime, UNIX_EPOCH};

use disco_core::Error as CoreError;
use serde_json::{Value, json};

use super::http::Server;
use crate::{Control, Observer, ObserverError, Outcome, Report, Result, TunerConfig};

/// What MLflow takes in one request of `runs/log-batch`.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;

/// Logs to an MLflow server over its REST interface: settings as parameters, metrics by step, shown samples as
/// artifacts `samples/step-N.txt`.
///
/// MLflow allows letters, digits, `_`, `-`, `.`, space, `:` and `/` in names; other characters become `_`. Numbers
/// that are not finite are left out. A request that fails, or a connection that is silent for ten seconds, is a
/// failure of the observer; put it into [`Background`](crate::Background) where that is too long to wait. Plain
/// HTTP only: for a server beyond a trusted network, a proxy on this machine can add TLS.
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
    /// Where artifacts are sent, if the server takes them itself.
    artifacts: Option<String>,
}

impl Mlflow {
    /// A new run `name` in an experiment, which is made if there is none, on the server at `address`,
    /// `http://HOST[:PORT][/PATH]`. Nothing is sent before the tuning run starts.
    ///
    /// # Errors
    /// [`CoreError::Invalid`] for an address of another form.
    pub fn new(address: &str, experiment: impl Into<String>, name: impl Into<String>) -> Result<Self> {
        let server = Server::new(address)
            .ok_or_else(|| CoreError::invalid("address of MLflow", address, "http://HOST[:PORT][/PATH]"))?;
        Ok(Self { server, experiment: experiment.into(), name: name.into(), run: None })
    }

    /// The run's id on the server, once it has begun.
    pub fn run_id(&self) -> Option<&str> {
        self.run.as_ref().map(|run| run.id.as_str())
    }

    /// Posts to `/api/2.0/mlflow/PATH`; an answer that is not a success is an error with what it says.
    fn post(&self, path: &str, body: &Value) -> std::result::Result<Value, ObserverError> {
        let path = format!("/api/2.0/mlflow/{path}");
        let (status, answer) =
            self.server.request("POST", &path, "application/json", &serde_json::to_vec(body)?)?;
        if status != 200 {
            return Err(format!("MLflow, {path}: {status}: {}", String::from_utf8_lossy(&answer)).into());
        }
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer)? })
    }

    /// The experiment's id. Searching needs no escaping of the name in an address, as getting it would.
    fn experiment(&self) -> std::result::Result<String, ObserverError> {
        let filter = format!("name = '{}'", self.experiment.replace('\'', "''"));
        let found = self.post("experiments/search", &json!({ "filter": filter, "max_results": 1 }))?;
        if let Some(id) = found["experiments"][0]["experiment_id"].as_str() {
            return Ok(id.to_owned());
        }
        let made = self.post("experiments/create", &json!({ "name": self.experiment }))?;
        Ok(made["experiment_id"].as_str().ok_or("MLflow gave no experiment id")?.to_owned())
    }

    fn running(&self) -> std::result::Result<&Run, ObserverError> {
        self.run.as_ref().ok_or_else(|| "the run on the server has not begun".into())
    }
}

impl Observer for Mlflow {
    fn start(&mut self, config: &TunerConfig, _: u64) -> std::result::Result<(), ObserverError> {
        let experiment = self.experiment()?;
        let request =
            json!({ "experiment_id": experiment, "run_name": self.name, "start_time": milliseconds() });
        let made = self.post("runs/create", &request)?;
        let info = &made["run"]["info"];
        let id = info["run_id"].as_str().ok_or("MLflow gave no run id")?.to_owned();
        let artifacts = info["artifact_uri"].as_str().and_then(|uri| uri.strip_prefix("mlflow-artifacts:"));
        self.run = Some(Run { id: id.clone(), artifacts: artifacts.map(str::to_owned) });
        let mut parameters = Vec::new();
        flatten("", &serde_json::to_value(config)?, &mut parameters);
        for part in parameters.chunks(PARAMETERS) {
            let params: Vec<Value> =
                part.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
            self.post("runs/log-batch", &json!({ "run_id": id, "params": params }))?;
        }
        Ok(())
    }

    fn step(&mut self, report: &Report) -> std::result::Result<Control, ObserverError> {
        let (run, now) = (self.running()?, milliseconds());
        let mut numbers = vec![
            ("gradient_norm".to_owned(), report.gradient_norm),
            ("learning_rate".to_owned(), report.learning_rate),
        ];
        numbers.extend(report.seconds.iter().map(|(stage, seconds)| (format!("seconds/{stage}"), *seconds)));
        for (name, metric) in &report.metrics {
            numbers.push((name.clone(), metric.value));
            numbers.extend(metric.std_error.map(|error| (format!("{name}/std_error"), error)));
        }
        let entry = |(name, value): &(String, f64)| json!({ "key": allowed(name), "value": value, "timestamp": now, "step": report.step });
        let metrics: Vec<Value> = numbers.iter().filter(|pair| pair.1.is_finite()).map(entry).collect();
        for part in metrics.chunks(METRICS) {
            self.post("runs/log-batch", &json!({ "run_id": run.id, "metrics": part }))?;
        }
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
        Ok(Control::Continue)
    }

    fn finish(&mut self, _: &Outcome) -> std::result::Result<(), ObserverError> {
        let run = self.running()?;
        let request = json!({ "run_id": run.id, "status": "FINISHED", "end_time": milliseconds() });
        self.post("runs/update", &request).map(drop)
    }
}

fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}

/// A name as MLflow allows it.
fn allowed(name: &str) -> String {
    let keep = |other: char| other.is_ascii_alphanumeric() || "_-. :/".contains(other);
    name.chars().map(|other| if keep(other) { other } else { '_' }).collect()
}

/// The leaves of a value, each with its path.
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
