//! Features whose values a server gives, and servers that misbehave.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use xtask::{Dialect, Error, ExternalScorer, HttpSettings, ScoredSample, StartMode};

use crate::common::{
    external::{results, spec},
    loopback::{drip, flood, send, serve},
    speech::{control, run_speeches},
};

/// A server that gives scores: `answer` is given the number of the request, its body, and the connection to answer on.
/// Returns its address, and the bodies of the requests that it has had.
fn server(
    answer: impl Fn(usize, &Value, &mut TcpStream) + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<Value>>>) {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let had = Arc::clone(&bodies);
    let address = serve(move |request, stream| {
        had.lock().unwrap().push(request.body.clone());
        answer(request.number, &request.body, stream);
    });
    (format!("{address}/score"), bodies)
}

/// The time of a case that has to run out of it, and of one that must not.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(30);

fn settings(url: &str, dialect: Dialect) -> HttpSettings {
    HttpSettings {
        url: url.into(),
        dialect,
        model: "model".into(),
        headers: Vec::new(),
        workers: 1,
        batch: 2,
        timeout: LONG,
        tries: 1,
    }
}

fn samples<'a>(texts: &'a [&'a str], columns: &'a BTreeMap<String, Value>) -> Vec<ScoredSample<'a>> {
    let sample = |text: &&'a str| ScoredSample { context: "C:", text, tokens: 1, finished: true, columns };
    texts.iter().map(sample).collect()
}

#[test]
fn each_dialect_is_spoken_as_its_servers_expect() {
    let columns = BTreeMap::from([("label".to_owned(), json!("short")), ("job".to_owned(), json!(1))]);
    let texts = ["a", "bb", "ccc"];
    let values = |scorer: &ExternalScorer| -> Vec<f64> {
        let rows = scorer.rows(&samples(&texts, &columns)).unwrap();
        rows.into_iter().map(|row| row.into_iter().next().unwrap().unwrap()).collect()
    };
    let asked = |dialect, answer: fn(&Value) -> Value| {
        let (url, bodies) =
            server(move |_, body, stream| send(stream, "200 OK", answer(body).to_string().as_bytes()));
        let scorer = ExternalScorer::from_server(vec!["length".into()], settings(&url, dialect)).unwrap();
        assert_eq!(values(&scorer), [1.0, 2.0, 3.0], "{dialect:?}");
        let bodies = bodies.lock().unwrap().clone();
        assert_eq!(bodies.len(), 2, "batches of two");
        bodies[0].clone()
    };
    let first = asked(Dialect::OpenRlhf, |body| {
        let lengths = body["query"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().len() - 2);
        json!({"rewards": lengths.collect::<Vec<_>>(), "extra_logs": {}})
    });
    assert_eq!(
        first,
        json!({"query": ["C:a", "C:bb"], "prompts": ["C:", "C:"], "labels": ["short", "short"]})
    );
    let first = asked(Dialect::LlamaFactory, |body| {
        let lengths =
            body["messages"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().len() - 2);
        json!({"scores": lengths.collect::<Vec<_>>()})
    });
    assert_eq!(first, json!({"model": "model", "messages": ["C:a", "C:bb"]}));
    let first = asked(Dialect::Disco, |body| {
        let lengths = body["samples"].as_array().unwrap().iter();
        let rows = lengths.map(|sample| [sample["text"].as_str().unwrap().len()]);
        json!({"id": body["id"], "values": rows.collect::<Vec<_>>()})
    });
    assert_eq!(first["features"], json!(["length"]));
    assert_eq!(
        first["samples"][1],
        json!({"context": "C:", "text": "bb", "tokens": 1, "finished": true, "columns": columns})
    );
}

#[test]
fn a_server_gives_the_bits_of_the_kind_that_it_imitates() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = server(|_, body, stream| {
        let texts = body["query"].as_array().unwrap().iter().map(|text| text.as_str().unwrap());
        let holds: Vec<f64> = texts.map(|text| f64::from(u8::from(text.contains("king")))).collect();
        send(stream, "200 OK", json!({"rewards": holds}).to_string().as_bytes());
    });
    let run = |kind: &str, name: &str| {
        let feature = format!("[[features]]\nname = \"king\"\n{kind}\nmean = 0.5\n");
        let out = folder.path().join(name);
        run_speeches(&spec(folder.path(), &feature, 3), &out, &control(StartMode::New)).unwrap();
        results(&out)
    };
    let asked = format!(
        "kind = \"http\"\nurl = \"{url}\"\ndialect = \"openrlhf\"\nbinary = true\nbatch = 50\nworkers = 2"
    );
    assert_eq!(run(&asked, "asked"), run("kind = \"contains\"\ntext = \"king\"", "own"));
}

#[test]
fn a_server_that_is_busy_is_asked_again_after_a_pause() {
    let columns = BTreeMap::new();
    for head in ["503 Service Unavailable", "429 Too Many Requests\r\nRetry-After: 0"] {
        let (url, bodies) = server(move |number, _, stream| match number {
            0 | 1 => send(stream, head, b"busy"),
            _ => send(stream, "200 OK", br#"{"rewards": [0.5]}"#),
        });
        let with = |tries| HttpSettings { tries, ..settings(&url, Dialect::OpenRlhf) };
        let scorer = ExternalScorer::from_server(vec!["r".into()], with(3)).unwrap();
        assert_eq!(scorer.rows(&samples(&["x"], &columns)).unwrap(), [[Ok(0.5)]]);
        assert_eq!(bodies.lock().unwrap().len(), 3, "{head}");
    }
    let (url, _) = server(|_, _, stream| send(stream, "500 Internal Server Error", b"no GPU"));
    let with = HttpSettings { tries: 2, ..settings(&url, Dialect::OpenRlhf) };
    let scorer = ExternalScorer::from_server(vec!["r".into()], with).unwrap();
    let error = scorer.rows(&samples(&["x"], &columns)).unwrap_err().to_string();
    assert!(error.contains(&url) && error.contains("500") && error.contains("no GPU"), "{error}");
    assert!(error.ends_with("(tried 2 times)"), "{error}");
}

/// More tries than a pause can be doubled without a limit.
#[test]
fn a_server_that_stays_busy_is_asked_as_often_as_the_settings_say() {
    let columns = BTreeMap::new();
    let (url, bodies) =
        server(|_, _, stream| send(stream, "503 Service Unavailable\r\nRetry-After: 0", b"busy"));
    let with = HttpSettings { tries: 80, ..settings(&url, Dialect::OpenRlhf) };
    let scorer = ExternalScorer::from_server(vec!["r".into()], with).unwrap();
    let error = scorer.rows(&samples(&["x"], &columns)).unwrap_err().to_string();
    assert!(error.ends_with("\"busy\" (tried 80 times)"), "{error}");
    assert_eq!(bodies.lock().unwrap().len(), 80);
}

type Answer = fn(&mut TcpStream);

/// A server that misbehaves, and a part of the error.
const CASES: [(Answer, &str, Duration); 18] = [
    (|stream| send(stream, "404 Not Found", b"no such path"), "status 404 Not Found: \"no such path\"", LONG),
    (
        |stream| send(stream, "500 Internal Server Error", b"no GPU"),
        "status 500 Internal Server Error: \"no GPU\"",
        LONG,
    ),
    (|stream| send(stream, "429 Too Many Requests\r\nRetry-After: 3600", b""), "status 429", LONG),
    (|stream| send(stream, "401 Unauthorized", b"who is word-of-mine?"), "who is [secret]?", LONG),
    (|stream| send(stream, "200 OK", b"<html>log in</html>"), "no JSON object as documented", LONG),
    (
        |stream| send(stream, "302 Found\r\nLocation: http://other/", b""),
        "to \"http://other/\", which is not followed",
        LONG,
    ),
    (
        |stream| send(stream, "307 Temporary Redirect\r\nLocation: /other", b""),
        "batch 1 of 1 (1 samples): ",
        LONG,
    ),
    // The connection is closed, or reset, without an answer.
    (|_| {}, "batch 1 of 1 (1 samples): ", LONG),
    (|stream| drop(stream.shutdown(Shutdown::Both)), "batch 1 of 1 (1 samples): ", LONG),
    (|_| thread::sleep(Duration::from_secs(3)), "timeout", SHORT),
    (|stream| drip(stream, b"H"), "batch 1 of 1 (1 samples): ", SHORT),
    (
        |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
            drip(stream, b" ");
        },
        "broke off: timeout",
        SHORT,
    ),
    (|stream| send(stream, "200 OK", br#"{"rewards": [1, 2]}"#), "2 values for 1 samples", LONG),
    (|stream| send(stream, "200 OK", br#"{"scores": [1]}"#), "no list `rewards`", LONG),
    (
        |stream| send(stream, "200 OK", br#"{"rewards": ["1"]}"#),
        "sample 0 (context \"C:\", text \"x\"): feature `r`",
        LONG,
    ),
    (|stream| send(stream, "200 OK", br#"{"rewards": [NaN]}"#), "NaN, which is no value", LONG),
    (|stream| send(stream, "200 OK", b"{\"rewards\": \xff}"), "not UTF-8", LONG),
    (
        |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"rewards\": [");
        },
        "broke off",
        LONG,
    ),
];

#[test]
fn each_misbehaviour_is_one_clear_error_within_its_time() {
    let run = |number: usize| {
        let (answer, told, timeout) = CASES[number];
        let columns = BTreeMap::new();
        let (url, _) = server(move |_, _, stream| answer(stream));
        let headers = vec![("X-Word".to_owned(), "Bearer word-of-mine".to_owned())];
        let settings = HttpSettings { timeout, headers, ..settings(&url, Dialect::OpenRlhf) };
        let scorer = ExternalScorer::from_server(vec!["r".into()], settings).unwrap();
        assert!(!format!("{scorer:?}").contains("word-of-mine"));
        let start = Instant::now();
        let error = scorer.rows(&samples(&["x"], &columns)).unwrap_err();
        let Error::Scorer { scorer, problem } = error else { panic!("{number}: {error}") };
        assert!(scorer == url && problem.contains(told), "{number}: {problem}");
        assert!(start.elapsed() < Duration::from_millis(2500), "{number}: {:?}", start.elapsed());
    };
    thread::scope(|scope| (0..CASES.len()).for_each(|number| drop(scope.spawn(move || run(number)))));
}

/// The header's words are not shown in part: where the answer is cut, or where its quotes are escaped.
#[test]
fn secrets_are_hidden_before_an_answer_is_cut_and_quoted() {
    const SECRET: &str = "my\"word\"and-more";
    // Each form of the secret stands at the place where a message is cut.
    type Case = fn(&str) -> (&'static str, String);
    let cases: [Case; 5] = [
        |long| ("401 Unauthorized", format!("{long}{SECRET}")),
        |long| ("200 OK", format!("<{long}{SECRET}>")),
        |long| ("200 OK", json!({"rewards": [format!("{long}{SECRET}")]}).to_string()),
        |long| ("200 OK", json!({"rewards": [{"skip": format!("{long}{SECRET}")}]}).to_string()),
        |_| ("302 Found", String::new()),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        for before in [0, 170, 190, 195] {
            let (url, _) = server(move |_, _, stream| {
                let (status, body) = case(&"x".repeat(before));
                let target = format!("{status}\r\nLocation: /{}{SECRET}", "x".repeat(before));
                send(stream, &target, body.as_bytes());
            });
            let headers = vec![("X-Word".to_owned(), format!("Bearer {SECRET}"))];
            let settings = HttpSettings { headers, ..settings(&url, Dialect::OpenRlhf) };
            let scorer = ExternalScorer::from_server(vec!["r".into()], settings).unwrap();
            let said = format!("{:?}", scorer.rows(&samples(&["x"], &BTreeMap::new())));
            assert!(said.contains("[s") && !said.contains("my"), "{number} {before}: {said}");
        }
    }
}

#[test]
fn an_answer_that_is_too_long_and_a_server_that_is_not_there_are_errors() {
    let columns = BTreeMap::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let (url, _) = server(move |_, _, stream| {
        counter.fetch_add(1, Ordering::SeqCst);
        flood(stream);
    });
    let with = HttpSettings { tries: 3, ..settings(&url, Dialect::Disco) };
    let scorer = ExternalScorer::from_server(vec!["r".into()], with).unwrap();
    let error = scorer.rows(&samples(&["x"], &columns)).unwrap_err().to_string();
    // It is not asked again: it would answer the same.
    assert!(error.ends_with("its answer has more than 16 MiB"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = settings(&format!("http://{closed}"), Dialect::OpenRlhf);
    let scorer = ExternalScorer::from_server(vec!["r".into()], closed).unwrap();
    let error = scorer.rows(&samples(&["x"], &columns)).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn addresses_and_features_that_cannot_be_asked_are_refused() {
    let refused = |url: &str, features: &[&str], dialect| {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        ExternalScorer::from_server(features, settings(url, dialect)).unwrap_err().to_string()
    };
    for url in ["ftp://host", "localhost:5000", "http://", "http:///path", "http://me:secret@host/"] {
        let error = refused(url, &["r"], Dialect::Disco);
        assert!(error.contains("the address "), "{error}");
    }
    let error = refused("http://host", &["r", "s"], Dialect::LlamaFactory);
    assert!(error.contains("gives one feature in its dialect; 2 are asked of it"), "{error}");
}
