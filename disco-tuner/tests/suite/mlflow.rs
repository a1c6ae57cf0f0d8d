//! Logging to an MLflow server.

use std::{
    collections::BTreeMap,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use disco_tuner::{
    Control, Error, InMemory, Mlflow, Observer, ObserverError, Outcome, Problem, StepReport, Tuner,
    TunerConfig,
};

use crate::{
    common::{Kind, World, target},
    mlflow_requests,
    observers::{config, tune},
};

#[test]
fn addresses_are_checked_and_a_server_that_is_not_there_refuses_the_run() {
    assert!(Mlflow::new("https://logs", "e", "r").unwrap_err().to_string().contains("http://HOST"));
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nobody = Mlflow::new(&format!("http://127.0.0.1:{port}"), "e", "r").unwrap();
    let (world, target) = (World::new(2, 30), target(Kind::Mixed));
    let problem = Problem::new(&world.contexts, &target);
    let tuner = Tuner::new(config()).unwrap();
    let refused = tuner.run(&mut world.policy(), &problem, &mut nobody).unwrap_err();
    assert!(matches!(refused, Error::Observer(_)), "{refused}");
    let text = refused.to_string();
    assert!(
        text.contains(&format!("MLflow at http://127.0.0.1:{port}: ")) && text.contains("refused"),
        "{text}"
    );
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // By SIGTERM, so that it ends its workers too; where there is no program for that, not so gently.
        let told = Command::new("kill").arg(self.0.id().to_string()).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

/// Tells both what it is told, and keeps the run's id.
struct Both(Mlflow, InMemory);

impl Observer for Both {
    fn start(&mut self, config: &TunerConfig, step: u64) -> Result<(), ObserverError> {
        self.0.start(config, step)
    }

    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        self.1.step(report)?;
        self.0.step(report)
    }

    fn finish(&mut self, outcome: &Outcome) -> Result<(), ObserverError> {
        self.0.finish(outcome)
    }
}

/// Runs where DISCO_MLFLOW_PYTHON names a Python that has mlflow.
#[test]
fn a_real_server_takes_parameters_metrics_and_samples() {
    let Some(python) = std::env::var_os("DISCO_MLFLOW_PYTHON") else {
        println!("DISCO_MLFLOW_PYTHON is not set: not tested with an MLflow server");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let arguments = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--port"];
    let mut command = Command::new(&python);
    command.args(arguments).arg(port.to_string()).current_dir(folder.path());
    command.args(["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "./artifacts"]);
    let _server = Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let waited = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(200));
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    assert!(waited, "the server did not come up");
    let address = format!("http://127.0.0.1:{port}");
    let mut both = Both(Mlflow::new(&address, "disco's tests", "one").unwrap(), InMemory::default());
    let outcome = tune(config(), &mut both);
    assert_eq!(outcome.observer_failures, 0, "{:?}", outcome.first_observer_failure);
    let script = "
import sys, mlflow
client = mlflow.MlflowClient(tracking_uri=sys.argv[1]); run = client.get_run(sys.argv[2])
print(run.info.status, run.data.params['divergence'], run.data.params['optimizer.kind'])
mlflow.set_tracking_uri(sys.argv[1])
print(mlflow.artifacts.load_text(run.info.artifact_uri + '/samples/step-1.txt').splitlines()[1])
for metric in client.get_metric_history(sys.argv[2], 'js_target_policy'): print(metric.step, repr(metric.value))
";
    let asked = |script: &str, arguments: &[&str]| {
        let mut client = Command::new(&python);
        let output = client.args(["-c", script]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let output = asked(script, &[&address, both.0.run_id().unwrap()]);
    let mut lines = output.lines();
    assert_eq!(lines.next().unwrap(), "FINISHED js adam");
    assert_eq!(lines.next().unwrap(), both.1.reports()[0].shown[0].text);
    for (step, metric) in both.1.series("js_target_policy") {
        let (found_step, value) = lines.next().unwrap().split_once(' ').unwrap();
        assert_eq!((found_step.parse(), value.parse()), (Ok(step), Ok(metric.value)));
    }

    // A run that fails is marked so; one that is resumed goes on in the same place, each step once.
    let mut first = Mlflow::new(&address, "disco's tests", "two").unwrap();
    first.start(&config(), 0).unwrap();
    let reports = both.1.reports();
    reports[..4].iter().for_each(|report| assert!(first.step(report).is_ok()));
    first.fail(4, "step 4, score: out of memory").unwrap();
    let id = first.run_id().unwrap().to_owned();
    let script = "
import sys, mlflow
run = mlflow.MlflowClient(tracking_uri=sys.argv[1]).get_run(sys.argv[2])
print(run.info.status, run.data.tags.get('disco.error'))
history = mlflow.MlflowClient(tracking_uri=sys.argv[1]).get_metric_history(sys.argv[2], 'gradient_norm')
print(sorted(metric.step for metric in history))
";
    assert_eq!(asked(script, &[&address, &id]), "FAILED step 4, score: out of memory\n[1, 2, 3, 4]\n");
    let mut second = Mlflow::new(&address, "disco's tests", "two").unwrap();
    second.start(&config(), 3).unwrap();
    assert_eq!(second.run_id().unwrap(), id);
    reports[3..].iter().for_each(|report| assert!(second.step(report).is_ok()));
    assert!(asked(script, &[&address, &id]).starts_with("RUNNING"));
    let mut stopped = outcome;
    stopped.reason = disco_tuner::StopReason::Observer;
    second.finish(&stopped).unwrap();
    let expected = "KILLED step 4, score: out of memory\n[1, 2, 3, 4, 5, 6]\n";
    assert_eq!(asked(script, &[&address, &id]), expected);

    // Names that the server does not take reach it under other keys, each with all its values.
    let mut hostile = Both(Mlflow::new(&address, "disco's tests", "hostile").unwrap(), InMemory::default());
    let outcome = mlflow_requests::tune(&mut hostile);
    assert_eq!(outcome.observer_failures, 0, "{:?}", outcome.first_observer_failure);
    let script = "
import json, sys, mlflow
client = mlflow.MlflowClient(tracking_uri=sys.argv[1]); run = client.get_run(sys.argv[2])
tags = run.data.tags; more = [tags[f'disco.names.{at}'] for at in range(1, 99) if f'disco.names.{at}' in tags]
names = json.loads(tags['disco.names'] + ''.join(more))
series = {names.get(key, key): [metric.value for metric in client.get_metric_history(sys.argv[2], key)]
          for key in run.data.metrics}
print(json.dumps([run.info.status, {name: values for name, values in series.items() if name.startswith('moment/')}]))
print(series['statistic/none'], 'statistic/endless' in series)
";
    let output = asked(script, &[&address, hostile.0.run_id().unwrap()]);
    let mut lines = output.lines();
    let (status, series): (String, BTreeMap<String, Vec<f64>>) =
        serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!((status.as_str(), series.len()), ("FINISHED", 2 * mlflow_requests::names().len()));
    for (at, name) in mlflow_requests::names().into_iter().enumerate() {
        for whose in ["policy", "target"] {
            let found = &series[&format!("moment/{name}/{whose}")];
            assert!(found.len() == 3 && found.iter().all(|value| (value - at as f64).abs() < 1e-9), "{name}");
        }
    }
    assert_eq!(lines.next().unwrap(), "[nan, nan, nan] False");
}
