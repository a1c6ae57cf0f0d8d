//! Requests that reach an MLflow server, told by a small server that answers as MLflow does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use disco_core::{Feature, feature};
use disco_tuner::{Background, InMemory, Mlflow, Observer, Outcome, Problem, Tuner, TunerConfig};
use serde_json::{Value, json};

use crate::common::{Kind, World, target};

/// Names of features that are no names of MLflow's, or that a careless mapping takes for the same.
pub(crate) const HOSTILE: [&str; 16] = [
    "a//b",
    "..",
    "../b",
    "/a",
    "a/",
    "",
    "猫",
    "犬",
    "a:b",
    "a_b",
    "a b",
    "a#b",
    "a_x23_b",
    "हिन्दी",
    "\u{1b}[31m\n",
    ".",
];

/// Two names of 300 letters that differ in the last.
pub(crate) fn long() -> [String; 2] {
    ["y", "z"].map(|end| format!("{}{end}", "x".repeat(299)))
}

pub(crate) fn names() -> Vec<String> {
    HOSTILE.map(str::to_owned).into_iter().chain(long()).collect()
}

/// A run with a feature of each name, whose mean is the position of the name, and a statistic that is infinite.
pub(crate) fn tune(observer: &mut dyn Observer) -> Outcome {
    let (world, target) = (World::new(1, 12), target(Kind::Distributional));
    let features: Vec<_> = names()
        .into_iter()
        .enumerate()
        .map(|(at, name)| feature(name, move |_: &usize, _: &usize| at as f64))
        .collect();
    let problem = Problem::new(&world.contexts, &target)
        .with_features(features.iter().map(|feature| feature as &dyn Feature<usize, usize>))
        .unwrap()
        .with_statistic("endless", |_: &[&usize]| f64::INFINITY)
        .unwrap()
        .with_statistic("none", |_: &[&usize]| f64::NAN)
        .unwrap();
    let config = TunerConfig { steps: 3, metrics_every: 1, ..TunerConfig::default() };
    Tuner::new(config).unwrap().run(&mut world.policy(), &problem, observer).unwrap()
}

/// A request: its path, its header `Authorization`, and its body.
type Told = (String, Option<String>, Value);

struct Fake {
    port: u16,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Fake {
    /// A server that answers as `refuse` says, or with success where it says nothing.
    fn new(refuse: impl Fn(&str, &Value) -> Option<(u16, &'static str)> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, told) = (listener.local_addr().unwrap().port(), Arc::default());
        let requests: Arc<Mutex<Vec<Told>>> = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (path, authorization, body) = read(&stream);
                let (status, answer) = match refuse(&path, &body) {
                    Some((status, text)) => (status, text.to_owned()),
                    None => (200, answer(&path).to_string()),
                };
                requests.lock().unwrap().push((path, authorization, body));
                let length = answer.len();
                write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{answer}").unwrap();
            }
        });
        Self { port, told }
    }

    fn observer(&self, user: &str) -> Mlflow {
        Mlflow::new(&format!("http://{user}127.0.0.1:{}", self.port), "e", "r").unwrap()
    }

    /// The bodies of the requests to a path, in order.
    fn bodies(&self, path: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(other, ..)| other.contains(path)).map(|(.., body)| body.clone()).collect()
    }

    /// The last text of a tag, with its continuations.
    fn tag(&self, key: &str) -> Option<String> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let sent = self.bodies("runs/set-tag");
        let tags: BTreeMap<String, String> =
            sent.iter().map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect();
        assert!(tags.values().all(|text| text.len() <= 5000));
        let more = (1..).map_while(|at| tags.get(&format!("{key}.{at}")));
        tags.get(key).map(|first| [first].into_iter().chain(more).cloned().collect())
    }

    /// The values of the metrics of a step, by key.
    fn metrics(&self, step: u64) -> BTreeMap<String, Value> {
        let batches = self.bodies("runs/log-batch");
        let metrics = batches.iter().filter_map(|batch| batch["metrics"].as_array()).flatten();
        let of_step = metrics.filter(|metric| metric["step"] == step);
        of_step.map(|metric| (metric["key"].as_str().unwrap().to_owned(), metric["value"].clone())).collect()
    }

    fn statuses(&self) -> Vec<Value> {
        self.bodies("runs/update").into_iter().map(|mut body| body["status"].take()).collect()
    }
}

fn read(stream: &TcpStream) -> Told {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let mut fields = lines.iter().filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    (path, header("authorization"), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn answer(path: &str) -> Value {
    match path.rsplit("mlflow/").next().unwrap().split('?').next().unwrap() {
        "experiments/get-by-name" => json!({"experiment": {"experiment_id": "1"}}),
        "runs/create" => json!({"run": {"info": {"run_id": "r", "artifact_uri": "elsewhere"}}}),
        _ => json!({}),
    }
}

/// `_validate_metric_name` of mlflow 3.17.2, for names with the letters of this test; and no colon, which a server on
/// Windows refuses.
fn is_allowed(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let characters = name.chars().all(|character| {
        character.is_ascii_alphanumeric() || "_-. /".contains(character) || "猫犬".contains(character)
    });
    // posixpath.normpath changes a path with an empty part or one of these.
    let is_normal = parts.iter().all(|part| !["", ".", ".."].contains(part));
    characters && is_normal && !name.starts_with("..") && name.chars().count() <= 250
}

#[test]
fn every_name_reaches_the_server_under_a_key_of_its_own() {
    let fake = Fake::new(|_, _| None);
    let outcome = tune(&mut fake.observer(""));
    assert_eq!(outcome.observer_failures, 0, "{:?}", outcome.first_observer_failure);
    let names: BTreeMap<String, String> = serde_json::from_str(&fake.tag("disco.names").unwrap()).unwrap();
    for step in 1..=3 {
        let metrics = fake.metrics(step);
        let mut seen = BTreeSet::new();
        for (key, value) in &metrics {
            assert!(is_allowed(key), "{key}");
            let name = names.get(key).unwrap_or(key);
            assert!(seen.insert(name.clone()), "{name} twice");
            if let Some(feature) = name.strip_prefix("moment/").and_then(|rest| rest.strip_suffix("/policy"))
            {
                let at = self::names().iter().position(|other| other == feature).unwrap();
                assert_eq!(value, &json!(at as f64), "{name}");
            }
        }
        for name in self::names() {
            assert!(seen.contains(&format!("moment/{name}/policy")), "{name}");
            assert!(seen.contains(&format!("std_error/moment/{name}/policy")), "{name}");
        }
        // A database would store another number for infinity.
        assert!(!metrics.contains_key("statistic/endless"));
        assert_eq!(metrics["statistic/none"], "NaN");
    }
    let warnings = fake.tag("disco.warnings").unwrap();
    assert!(warnings.contains("step 1: statistic/endless is inf, which is left out"), "{warnings}");
    assert!(warnings.contains("statistic/none is NaN"), "{warnings}");
    assert_eq!(warnings.lines().count(), 2);
    assert_eq!((fake.statuses(), fake.tag("disco.incomplete")), (vec![json!("FINISHED")], None));
}

fn is_cursed(body: &Value) -> bool {
    body["metrics"].as_array().is_some_and(|all| all.iter().any(|metric| metric["key"] == "entropy"))
}

#[test]
fn a_metric_that_the_server_refuses_costs_no_other_and_is_told() {
    let refuse = |path: &str, body: &Value| {
        (path.ends_with("log-batch") && is_cursed(body)).then_some((400, "cursed"))
    };
    let fake = Fake::new(refuse);
    let mut both: Vec<Box<dyn Observer>> = vec![Box::new(fake.observer("")), Box::new(InMemory::default())];
    let outcome = tune(&mut both);
    assert_eq!(outcome.observer_failures, 3);
    // A refused batch is in the log of the requests: a metric counts once it was sent without the cursed one.
    let sent = fake.bodies("runs/log-batch").into_iter().filter(|batch| !is_cursed(batch));
    let kept: BTreeSet<String> = sent
        .filter_map(|batch| batch["metrics"].as_array().cloned())
        .flatten()
        .filter(|metric| metric["step"] == 2)
        .map(|metric| metric["key"].as_str().unwrap().to_owned())
        .collect();
    let all = fake.metrics(2).into_keys().collect::<BTreeSet<_>>();
    assert_eq!(all.difference(&kept).collect::<Vec<_>>(), ["entropy"]);
    let incomplete = fake.tag("disco.incomplete").unwrap();
    assert!(
        incomplete.starts_with("steps that were not logged whole: 3; the first is step 1: "),
        "{incomplete}"
    );
    assert!(incomplete.contains("cursed"), "{incomplete}");
    assert_eq!(fake.statuses(), ["FINISHED"]);

    // Without the word, it is not marked as finished.
    let fake = Fake::new(move |path, body| {
        let mute = body["key"] == "disco.incomplete";
        refuse(path, body).or(mute.then_some((500, "the disk is full")))
    });
    let outcome = tune(&mut fake.observer(""));
    assert_eq!((outcome.observer_failures, fake.statuses()), (4, vec![]));
}

#[test]
fn warnings_that_the_server_refused_are_sent_again() {
    let refused = AtomicBool::new(false);
    let fake = Fake::new(move |_, body| {
        let is_first = body["key"] == "disco.warnings" && !refused.swap(true, Ordering::Relaxed);
        is_first.then_some((500, "the disk is full"))
    });
    let outcome = tune(&mut fake.observer(""));
    assert_eq!(outcome.observer_failures, 1, "{:?}", outcome.first_observer_failure);
    let tags = fake.bodies("runs/set-tag");
    let sent: Vec<&Value> = tags.iter().filter(|tag| tag["key"] == "disco.warnings").collect();
    assert!(sent.len() == 2 && sent[0] == sent[1], "{sent:?}");
}

#[test]
fn steps_that_a_full_queue_dropped_are_told_too() {
    let fake = Fake::new(|_, _| {
        std::thread::sleep(std::time::Duration::from_millis(200));
        None
    });
    let outcome = tune(&mut Background::new(fake.observer(""), 1));
    assert!(outcome.observer_failures > 0);
    let incomplete = fake.tag("disco.incomplete").unwrap();
    assert!(incomplete.contains("its report did not reach the logger"), "{incomplete}");
}

#[test]
fn user_and_password_are_sent_and_no_error_has_them() {
    let fake = Fake::new(|path, _| path.ends_with("runs/create").then_some((401, "Unauthorized")));
    let (world, target) = (World::new(1, 12), target(Kind::Distributional));
    let problem = Problem::new(&world.contexts, &target);
    let mut observer = fake.observer("me:open%20sesame@");
    assert!(!format!("{observer:?}").contains("sesame"));
    let tuner = Tuner::new(TunerConfig::default()).unwrap();
    let text = tuner.run(&mut world.policy(), &problem, &mut observer).unwrap_err().to_string();
    assert!(text.contains(&format!("MLflow at http://127.0.0.1:{}", fake.port)), "{text}");
    assert!(text.contains("401: Unauthorized; user and password stand in the address"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
    // RFC 7617 of `me:open sesame`.
    let told = fake.told.lock().unwrap();
    assert!(told.iter().all(|(_, header, _)| header.as_deref() == Some("Basic bWU6b3BlbiBzZXNhbWU=")));
}
