//! The kind `json`, beside values counted by hand and another reader.

use disco_core::{Skipped, StreamRng};
use rand::{RngExt, SeedableRng};

use crate::kinds::{check, features, values};

#[test]
fn a_text_is_json_or_not_whatever_its_depth() {
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let (deep, open) = (deep(200_000), "[{\"a\":".repeat(100_000));
    let cases = [
        (" {\"a\": [1, 2.5e3, null, true, \"\\u00e9\\n\"]}\n", 1.0),
        ("7", 1.0),
        ("\"x\"", 1.0),
        ("", 0.0),
        ("{\"a\": NaN}", 0.0),
        ("{'a': 1}", 0.0),
        ("[1, 2,]", 0.0),
        ("01", 0.0),
        ("1 2", 0.0),
        ("{\"a\": 1} yes", 0.0),
        ("\"tab\there\"", 0.0),
        (&deep, 1.0),
        (&open, 0.0),
    ];
    check("kind = \"json\"", &cases);
}

#[test]
fn a_value_at_a_place_in_json_is_compared_or_taken() {
    let at = |path: &str, more: &str| format!("kind = \"json\"; path = '{path}'; {more}");
    let text = r#"{"gender": "female", "age": 41, "tags": ["a", {"n": -0.5}, 7], "is new": true, "none": null, "big": 1e2}"#;
    check(
        &at("$.gender", "equals = \"female\""),
        &[(text, 1.0), (r#"{"gender": "Female"}"#, 0.0), ("{}", 0.0), ("no", 0.0)],
    );
    check(&at("$.gender", "equals = \"é\""), &[(r#"{"gender": "\u00e9"}"#, 1.0)]);
    check(&at("$.age", "equals = 41"), &[(text, 1.0), (r#"{"age": 41.0}"#, 1.0), (r#"{"age": "41"}"#, 0.0)]);
    check(&at("$[\"is new\"]", "equals = true"), &[(text, 1.0), (r#"{"is new": 1}"#, 0.0)]);
    check(
        &at("$.tags[-1]", "equals = 7"),
        &[(text, 1.0), (r#"{"tags": [7, 8]}"#, 0.0), (r#"{"tags": []}"#, 0.0)],
    );
    check(&at("$", "equals = \"yes\""), &[(" \"yes\"\n", 1.0), ("yes", 0.0)]);
    let number = |path: &str| at(path, "otherwise = -1; mean = 0");
    for (path, expected) in [
        ("$.age", 41.0),
        ("$.tags[1].n", -0.5),
        ("$.tags[-2].n", -0.5),
        ("$.tags[2]", 7.0),
        ("$.tags[3]", -1.0),
        ("$.tags[-4]", -1.0),
        ("$.tags", -1.0),
        ("$.gender", -1.0),
        ("$.none", -1.0),
        ("$.age.x", -1.0),
        ("$.age[0]", -1.0),
        ("$.big", 100.0),
        ("$.no", -1.0),
        ("$", -1.0),
    ] {
        check(&number(path), &[(text, expected)]);
    }
    // Of two members of one name the last counts.
    check(&number("$.a"), &[(r#"{"a": 1, "a": 2}"#, 2.0), ("{\"a\": 1} x", -1.0), ("nothing", -1.0)]);
    let deep = format!(r#"{{"x": {}{}, "a": 5}}"#, "[".repeat(100_000), "]".repeat(100_000));
    check(&number("$.a"), &[(&deep, 5.0)]);
    check(&number("$.x"), &[(&deep, -1.0)]);

    let skipping = features(&[("age", &at("$.age", "mean = 30"))])[0].clone();
    let found = values(&skipping, &[text, "no", "{}", r#"{"age": "41"}"#]);
    let skipped = |problem: &str| Err(Skipped::new("age", format!("no number at $.age: {problem}")));
    assert_eq!(
        found,
        [
            Ok(41.0),
            skipped("the text is no JSON that can be read"),
            skipped("there is no such place"),
            skipped("the value there is no number"),
        ]
    );
}

/// Beside serde_json's own values, on damaged texts.
#[test]
fn places_in_json_are_those_of_another_reader() {
    let feature = |fields: &str| features(&[("it", fields)])[0].clone();
    let valid = feature("kind = \"json\"");
    let item = feature("kind = \"json\"; path = \"$.a[1].b\"; otherwise = 99; mean = 0");
    let whole = r#"{"z": [{}, {"b": 1}], "a": [null, {"c": [], "b": -2.5}, 3], "e": "a\"[1]"}"#;
    let pieces = ["", "\"", "[", "]", "{", "}", ",", ":", "1", "null", " ", "\\", "-", "\"b\":4,"];
    let mut rng = StreamRng::seed_from_u64(3);
    let mut seen = [0; 2];
    for _ in 0..4000 {
        let mut text = whole.to_owned();
        for _ in 0..rng.random_range(0..3) {
            let at = rng.random_range(0..text.len());
            let piece = pieces[rng.random_range(0..pieces.len())];
            text.replace_range(at..at + rng.random_range(0..=1), piece);
        }
        let value = serde_json::from_str::<serde_json::Value>(&text).ok();
        seen[usize::from(value.is_some())] += 1;
        assert_eq!(values(&valid, &[&text]), [Ok(f64::from(u8::from(value.is_some())))], "{text}");
        let number = value.and_then(|value| value.pointer("/a/1/b")?.as_f64());
        assert_eq!(values(&item, &[&text]), [Ok(number.unwrap_or(99.0))], "{text}");
    }
    assert!(seen.iter().all(|count| *count > 500), "{seen:?}");
}
