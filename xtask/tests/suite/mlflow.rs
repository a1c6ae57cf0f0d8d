//! `[log] mlflow` of a run file, against an MLflow server.

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;

const SPEC: &str = r#"
title = "two commas"
[model]
source = "embedded"
max_new_tokens = 8
[contexts]
list = ["KING RICHARD III:\n"]
[[features]]
name = "a comma, or two"
kind = "contains"
text = ","
mean = 0.6
[fit]
samples = 600
[tune]
steps = 5
samples_per_step = 32
learning_rate = 0.01
metrics_every = 2
[sample]
count = 64
[log]
jsonl = "steps.jsonl"
"#;

/// Prints the status of the run, and every value of every metric by its name and step.
const HISTORY: &str = "
import json, sys, mlflow
client = mlflow.MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
(run,) = client.search_runs([experiment.experiment_id])
names = json.loads(run.data.tags.get('disco.names', '{}'))
history = {names.get(key, key): {point.step: point.value for point in client.get_metric_history(run.info.run_id, key)}
           for key in run.data.metrics}
print(json.dumps([run.info.status, run.info.run_name, history]))
";

/// Ends a server when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // By SIGTERM, so that it ends its workers too.
        let told = Command::new("kill").arg(self.0.id().to_string()).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// Runs where DISCO_MLFLOW_PYTHON names a Python that has mlflow.
#[test]
fn an_mlflow_server_has_the_metrics_of_the_log_of_a_run_file() {
    let Some(python) = std::env::var_os("DISCO_MLFLOW_PYTHON") else {
        println!("DISCO_MLFLOW_PYTHON is not set: not tested with an MLflow server");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(&python);
    command.args([
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--workers",
        "1",
        "--port",
        &port.to_string(),
    ]);
    command.args(["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts"]);
    let command = command.current_dir(at).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server(command.spawn().unwrap());
    let waited = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(200));
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    assert!(waited, "the server did not come up");

    let address = format!("http://127.0.0.1:{port}");
    let text = format!("{SPEC}mlflow = {{ address = \"{address}\", experiment = \"run files\" }}\n");
    fs::write(at.join("s.toml"), text).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = run.args(["run", "s.toml", "--out", "run"]).current_dir(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = Command::new(&python).args(["-c", HISTORY, &address, "run files"]).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let (status, title, history): (String, String, BTreeMap<String, BTreeMap<u64, Value>>) =
        serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!((status.as_str(), title.as_str()), ("FINISHED", "two commas"));

    let steps = fs::read_to_string(at.join("steps.jsonl")).unwrap();
    let mut compared = 0;
    for line in steps.lines().take(5) {
        let line: Value = serde_json::from_str(line).unwrap();
        let step = line["step"].as_u64().unwrap();
        let metrics = line.get("metrics").and_then(Value::as_object);
        let metrics = metrics.into_iter().flatten().map(|(name, metric)| (name.as_str(), &metric["value"]));
        let own = ["gradient_norm", "learning_rate"].map(|name| (name, &line[name]));
        // Infinite numbers and NaN are written differently.
        for (name, value) in metrics.chain(own).filter(|(_, value)| value.is_f64()) {
            assert_eq!(history[name][&step].as_f64(), value.as_f64(), "{name} at step {step}");
            compared += 1;
        }
    }
    assert!(compared > 30 && history["moment/a comma, or two/policy"].len() == 3, "{compared}");
}
