//! The requests that [`Mlflow`] makes: its methods that talk to the server.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{
    Done, Mlflow,
    names::{parts, value},
};
use crate::{
    config::TunerConfig,
    observer::{ObserverError, StepReport},
};

/// The largest number of parameters in one request of `runs/log-batch`.
const PARAMETERS: usize = 100;
/// The largest number of requests that look for the metrics which a server refuses.
pub(super) const SEARCHES: usize = 40;
/// The largest size of the value of a tag, in bytes.
pub(super) const TAG: usize = 5000;
/// The longest name of a run, in characters.
const RUN_NAME: usize = 250;
/// The tag by which a resumed run finds its run on the server.
const NAME: &str = "disco.name";

/// The answer to a request, or its status and error.
type Answer = std::result::Result<Value, (u16, ObserverError)>;

#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: String,
    /// The path for artifacts, if the server takes them itself.
    artifacts: Option<String>,
    /// The last step that the server has metrics of.
    pub(super) logged: u64,
    /// The tags that the run has.
    tags: Vec<(String, String)>,
}

impl Run {
    /// Parses the field `run` of an answer.
    fn read(run: &Value) -> Done<Self> {
        let info = &run["info"];
        let artifacts = info["artifact_uri"].as_str().and_then(|uri| uri.strip_prefix("mlflow-artifacts:"));
        let steps = run["data"]["metrics"].as_array().into_iter().flatten();
        let tags = run["data"]["tags"].as_array().into_iter().flatten();
        let tag = |tag: &Value| Some((tag["key"].as_str()?.to_owned(), tag["value"].as_str()?.to_owned()));
        Ok(Self {
            id: info["run_id"].as_str().ok_or("MLflow gave no run id")?.to_owned(),
            artifacts: artifacts.map(str::to_owned),
            logged: steps.filter_map(|metric| metric["step"].as_u64()).max().unwrap_or(0),
            tags: tags.filter_map(tag).collect(),
        })
    }

    /// The text of a tag and its continuations.
    pub(super) fn tag(&self, key: &str) -> String {
        let part = |at: usize| {
            let key = numbered(key, at);
            self.tags.iter().find(|(other, _)| *other == key).map(|(_, text)| text.as_str())
        };
        (0..).map_while(part).collect()
    }
}

/// The key of a tag, or of one of its continuations.
fn numbered(key: &str, at: usize) -> String {
    if at == 0 { key.to_owned() } else { format!("{key}.{at}") }
}

impl Mlflow {
    /// Posts to `/api/2.0/mlflow/PATH`. An answer that is not a success is an error with its text.
    pub(super) fn post(&self, path: &str, body: &Value) -> Done<Value> {
        self.ask("POST", path, &serde_json::to_vec(body)?)?.map_err(|(_, error)| error)
    }

    /// Sends a request to `/api/2.0/mlflow/PATH`. An answer that is not a success is given as its status and an error.
    pub(super) fn ask(&self, method: &str, path: &str, body: &[u8]) -> Done<Answer> {
        let path = format!("/api/2.0/mlflow/{path}");
        let (status, answer) = self.server.request(method, &path, "application/json", body)?;
        if status != 200 {
            return Ok(Err((status, self.refusal(&path, status, &answer))));
        }
        Ok(Ok(if answer.is_empty() { Value::Null } else { serde_json::from_slice(&answer)? }))
    }

    pub(super) fn refusal(&self, path: &str, status: u16, answer: &[u8]) -> ObserverError {
        let said = String::from_utf8_lossy(&answer[..answer.len().min(1000)]);
        let remedy = match status {
            401 | 403 => {
                "; user and password stand in the address or in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, \
                 a token in MLFLOW_TRACKING_TOKEN"
            }
            _ => "",
        };
        format!("MLflow at {}, {path}: {status}: {said}{remedy}", self.server).into()
    }

    /// The experiment's id. It is looked up by name, not searched: a search has no escape for an apostrophe.
    pub(super) fn experiment(&self) -> Done<String> {
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
    pub(super) fn resumed(&self, experiment: &str) -> Done<Option<Run>> {
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

    pub(super) fn create(&mut self, experiment: &str, config: &TunerConfig) -> Done<Run> {
        let request = json!({
            "experiment_id": experiment,
            "run_name": self.name.chars().take(RUN_NAME).collect::<String>(),
            "start_time": milliseconds(),
            "tags": [{ "key": NAME, "value": hexadecimal(&self.name) }],
        });
        let run = Run::read(&self.post("runs/create", &request)?["run"])?;
        let mut parameters = Vec::new();
        flatten("", &serde_json::to_value(config)?, &mut parameters);
        let mut params = Vec::with_capacity(parameters.len());
        for (name, text) in &parameters {
            params.push(json!({ "key": self.names.key(name)?, "value": value(text) }));
        }
        for part in params.chunks(PARAMETERS) {
            self.post("runs/log-batch", &json!({ "run_id": run.id, "params": part }))?;
        }
        Ok(run)
    }

    pub(super) fn end(&self, status: &str) -> Done<()> {
        let request = json!({ "run_id": self.running()?.id, "status": status, "end_time": milliseconds() });
        self.post("runs/update", &request).map(drop)
    }

    pub(super) fn running(&self) -> Done<&Run> {
        self.run.as_ref().ok_or_else(|| "the run on the server has not begun".into())
    }

    /// Sets a tag, with as many continuations as its text needs.
    pub(super) fn set_tag(&self, key: &str, text: &str) -> Done<()> {
        let id = &self.running()?.id;
        for (at, part) in parts(text, TAG).into_iter().enumerate() {
            let tag = json!({ "run_id": id, "key": numbered(key, at), "value": part });
            self.post("runs/set-tag", &tag)?;
        }
        Ok(())
    }

    /// Logs the shown samples of a step as an artifact, if the server takes it.
    pub(super) fn log_shown(&self, report: &StepReport) -> Done<()> {
        let (Some(artifacts), false) = (&self.running()?.artifacts, report.shown.is_empty()) else {
            return Ok(());
        };
        let shown =
            report.shown.iter().map(|sample| format!("context {}\n{}\n", sample.context, sample.text));
        let text = shown.collect::<Vec<_>>().join("\n");
        let path = format!("/api/2.0/mlflow-artifacts/artifacts{artifacts}/samples/step-{}.txt", report.step);
        let (status, answer) =
            self.server.request("PUT", &path, "text/plain; charset=utf-8", text.as_bytes())?;
        if status == 200 { Ok(()) } else { Err(self.refusal(&path, status, &answer)) }
    }

    /// Logs metrics in one request. If the server refuses them, halves of them are tried, so that it has all that it
    /// takes.
    pub(super) fn log_metrics(&self, metrics: &[Value], searches: &mut usize) -> Done<()> {
        let body = serde_json::to_vec(&json!({ "run_id": self.running()?.id, "metrics": metrics }))?;
        match self.ask("POST", "runs/log-batch", &body)? {
            Ok(_) => Ok(()),
            Err((400 | 500, _)) if metrics.len() > 1 && *searches > 1 => {
                *searches -= 2;
                let (first, second) = metrics.split_at(metrics.len() / 2);
                let first = self.log_metrics(first, searches);
                first.and(self.log_metrics(second, searches))
            }
            Err((_, error)) => Err(error),
        }
    }
}

/// A form of a name without characters that a filter would have to escape; of a long name, its beginning and length.
fn hexadecimal(name: &str) -> String {
    let bytes = &name.as_bytes()[..name.len().min(TAG / 2 - 16)];
    let cut = if bytes.len() < name.len() { format!("-{}", name.len()) } else { String::new() };
    bytes.iter().map(|byte| format!("{byte:02x}")).chain([cut]).collect()
}

/// A value for the query of an address, in which every byte but letters and digits is escaped.
fn percent_encoded(value: &str) -> String {
    let encoded = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(encoded).collect()
}

pub(super) fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
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
        Value::String(text) => leaves.push((path.to_owned(), text.clone())),
        other => leaves.push((path.to_owned(), other.to_string())),
    }
}
