//! Samples recorded by another engine: files, look-ups, order, bad input.

use disco_core::{Distribution, Empirical, Error, Record, Scorer, Streams};

use crate::scratch::Scratch;

const LINES: &str = r#"{"sample": "yes", "log_prob": -0.5, "context": "p", "engine": "other"}
{"sample": "no", "log_prob": -1.25, "context": "q"}
{"sample": "no", "log_prob": -0.9327521295671886, "context": "p"}
{"sample": "yes", "log_prob": -0.5001, "context": "p"}
"#;

#[test]
fn records_are_read_by_context_in_order() {
    let file = Scratch::file("records.jsonl", LINES);
    let recorded = Empirical::<String, String>::from_json_lines(&file.0).unwrap();
    assert_eq!(recorded.contexts(), ["p", "q"]);
    let p = "p".to_string();
    let texts: Vec<&str> = recorded.samples(&p).unwrap().iter().map(|sample| &*sample.value).collect();
    assert_eq!(texts, ["yes", "no", "yes"]);
    // Noise of the engine is settled in favour of the first: one sample, one log-probability.
    let log_probs: Vec<f64> = recorded.samples(&p).unwrap().iter().map(|sample| sample.log_prob).collect();
    assert_eq!(log_probs, [-0.5, -0.9327521295671886, -0.5]);
    let scores = recorded.log_scores(&p, &[&"no".to_string(), &"perhaps".to_string()]).unwrap();
    assert_eq!(scores[0], Ok(-0.9327521295671886));
    assert!(scores[1].as_ref().unwrap_err().reason().contains("not among the records"));
    assert!(matches!(recorded.samples(&"r".to_string()), Err(Error::Invalid { .. })));
}

#[test]
fn samples_of_structured_types_need_no_context() {
    let lines = "{\"sample\": [1, 2], \"log_prob\": -3}\n{\"sample\": [], \"log_prob\": -0.1}\n";
    let file = Scratch::file("structured.jsonl", lines);
    let recorded = Empirical::<(), Vec<u32>>::from_json_lines(&file.0).unwrap();
    assert_eq!(recorded.samples(&()).unwrap()[0].value, [1, 2]);
}

#[track_caller]
fn refused_at_line(lines: &str, line: usize, reason: &str) {
    let file = Scratch::file(&format!("bad-{}.jsonl", lines.len()), lines);
    let error = Empirical::<String, String>::from_json_lines(&file.0).unwrap_err();
    assert!(matches!(error, Error::Malformed { line: found, .. } if found == line), "{error}");
    assert!(error.to_string().contains(reason), "{error}");
}

#[test]
fn malformed_records_are_named_by_line() {
    let good = "{\"sample\": \"a\", \"log_prob\": -1, \"context\": \"c\"}\n";
    refused_at_line(&format!("{good}{{\"sample\": \"a\""), 2, "EOF");
    refused_at_line(&format!("{good}{good}{{\"sample\": \"a\", \"context\": \"c\"}}\n"), 3, "log_prob");
    refused_at_line("{\"log_prob\": -1, \"context\": \"c\"}\n", 1, "sample");
    refused_at_line("{\"sample\": \"a\", \"log_prob\": null, \"context\": \"c\"}\n", 1, "null");
    refused_at_line("{\"sample\": \"a\", \"log_prob\": -1}\n", 1, "field `context`");
    refused_at_line(&format!("{good}\n{good}"), 2, "blank");
    refused_at_line(&format!("{good}{{oops"), 2, "line 2: key must be a string, at column 2");
    refused_at_line(&good.replace("-1", "1.5"), 1, "log_prob is 1.5; allowed: at most 0");
    let other = good.replace("-1", "-1.2");
    refused_at_line(&format!("{good}{other}"), 2, "within 0.01 of -1");
}

#[test]
fn numbers_that_python_writes_are_named_with_their_field() {
    let good = "{\"sample\": \"a\", \"log_prob\": -1, \"context\": \"c\"}\n";
    for name in ["NaN", "Infinity", "-Infinity"] {
        let reason = format!("field `log_prob` holds {name}; allowed: a finite number: the sample was drawn");
        refused_at_line(&format!("{good}{}", good.replace("-1", name)), 2, &reason);
        refused_at_line(&good.replace("\"a\"", name), 1, &format!("field `sample` holds {name}; allowed: "));
        // In a field that is not read they do not matter.
        let lines = good.replace("{", &format!("{{\"reward\": [{name}, 1], "));
        let file = Scratch::file("python.jsonl", &lines);
        let recorded = Empirical::<String, String>::from_json_lines(&file.0).unwrap();
        assert_eq!(recorded.samples(&"c".into()).unwrap()[0].log_prob, -1.0);
    }
    // A key with an escape is the same key.
    let escaped = good.replace("log_prob", r"log_pro\u0062");
    let reason = "field `log_prob` holds NaN; allowed: a finite number: the sample was drawn";
    refused_at_line(&escaped.replace("-1", "NaN"), 1, reason);
    let file = Scratch::file("escaped.jsonl", escaped);
    assert!(Empirical::<String, String>::from_json_lines(&file.0).is_ok());
    refused_at_line(&good.replace("-1", "-1e999"), 1, "field `log_prob`: number out of range, at column ");
    refused_at_line(&good.replace("\"c\"", "3"), 1, "field `context`: invalid type: integer `3`");
    refused_at_line(
        &good.replace("-1", "\"-1\""),
        1,
        "field `log_prob`: invalid type: string \"-1\", expected f64",
    );
}

#[test]
fn probabilities_of_one_context_sum_to_at_most_1() {
    // Means of token log-probabilities: 3 exp(-0.1) = 2.71.
    let line = |sample: &str, context: &str| {
        format!("{{\"sample\": \"{sample}\", \"log_prob\": -0.1, \"context\": \"{context}\"}}\n")
    };
    let mean = "a mean of token log-probabilities instead of their sum";
    refused_at_line(&[line("a", "c"), line("b", "c"), line("d", "c")].concat(), 2, mean);
    let error = Empirical::new([("a", -0.1), ("b", -0.1)].map(|(sample, log_prob)| Record {
        context: (),
        sample,
        log_prob,
    }));
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("log_prob of record 1 is -0.1; allowed: ") && error.contains("not 1.8097"),
        "{error}"
    );
    // The same sample again, and samples of other contexts, add nothing; noise of an engine does not count.
    let lines = [line("a", "c"), line("a", "c"), line("b", "d")].concat();
    let file = Scratch::file("sums.jsonl", &lines);
    assert!(Empirical::<String, String>::from_json_lines(&file.0).is_ok());
    let noisy = |noise: f64| {
        (0..100).map(move |sample| Record { context: (), sample, log_prob: 0.01f64.ln() + noise })
    };
    assert!(Empirical::new(noisy(0.009)).is_ok() && Empirical::new(noisy(0.011)).is_err());
}

#[test]
fn records_have_blank_lines_and_marks_at_no_cost() {
    let lines = format!("\u{feff}{}\r\n\n", LINES.replace('\n', "\r\n"));
    let file = Scratch::file("windows.jsonl", &lines);
    let recorded = Empirical::<String, String>::from_json_lines(&file.0).unwrap();
    assert_eq!(recorded.contexts(), ["p", "q"]);
}

#[test]
fn bad_records_are_refused() {
    let record = |log_prob| Record { context: (), sample: 'x', log_prob };
    assert!(matches!(Empirical::<(), char>::new([]), Err(Error::Empty { .. })));
    for log_prob in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(Empirical::new([record(log_prob)]), Err(Error::Invalid { .. })), "{log_prob}");
    }
    assert!(matches!(Empirical::new([record(-1.0), record(-2.0)]), Err(Error::Invalid { .. })));
    // A negative log-likelihood is refused, rounding above 0 is not.
    assert!(matches!(Empirical::new([record(2.0)]), Err(Error::Invalid { .. })));
    assert!(Empirical::new([record(1e-6)]).is_ok());
    let empty = Scratch::file("empty.jsonl", "");
    assert!(matches!(Empirical::<(), char>::from_json_lines(&empty.0), Err(Error::Empty { .. })));
    assert!(matches!(Empirical::<(), char>::from_json_lines("/no/such/file"), Err(Error::Io { .. })));
}

fn numbered(n: usize) -> Empirical<(), usize> {
    Empirical::new((0..n).map(|sample| Record { context: (), sample, log_prob: -(n as f64).ln() })).unwrap()
}

#[test]
fn without_replacement_a_key_gives_each_record_once() {
    let recorded = numbered(100);
    let streams = Streams::new(3, 100);
    let drawn = recorded.sample(&(), &streams).unwrap();
    let mut sorted: Vec<usize> = drawn.iter().map(|sample| sample.value).collect();
    assert!(!sorted.is_sorted());
    sorted.sort_unstable();
    assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    // Also when the streams come in parts.
    let parts: Vec<_> =
        streams.chunks(7).flat_map(|streams| recorded.sample(&(), &streams).unwrap()).collect();
    assert_eq!(parts, drawn);
    assert!(matches!(recorded.sample(&(), &Streams::new(3, 101)), Err(Error::Invalid { .. })));
    assert_ne!(recorded.sample(&(), &Streams::new(4, 100)).unwrap(), drawn);
}

#[test]
fn with_replacement_there_is_no_end() {
    let recorded = numbered(10).with_replacement();
    let drawn = recorded.sample(&(), &Streams::new(3, 1000)).unwrap();
    // Ten binomial counts, n = 1000, five standard deviations.
    for value in 0..10 {
        let count = drawn.iter().filter(|sample| sample.value == value).count() as f64;
        assert!((count - 100.0).abs() < 5.0 * 90f64.sqrt(), "{value}: {count}");
    }
}
