//! Values written by serde come back unchanged; values that cannot have been written are refused.

use disco_core::{Estimate, ImportanceAccumulator};
use serde_json::json;

#[track_caller]
fn comes_back(estimate: Estimate, expected: &str) {
    let text = serde_json::to_string(&estimate).unwrap();
    assert_eq!(text, expected);
    assert_eq!(serde_json::from_str::<Estimate>(&text).unwrap(), estimate);
}

#[test]
fn infinite_estimates_come_back_from_json() {
    let infinite = f64::INFINITY;
    comes_back(
        Estimate { value: 0.1, std_error: 0.25, ess: 3.0 },
        r#"{"value":0.1,"std_error":0.25,"ess":3.0}"#,
    );
    comes_back(
        Estimate { value: -2.0, std_error: infinite, ess: infinite },
        r#"{"value":-2.0,"std_error":null,"ess":null}"#,
    );
    comes_back(
        Estimate { value: infinite, std_error: 0.0, ess: 1.0 },
        r#"{"value":"inf","std_error":0.0,"ess":1.0}"#,
    );
    comes_back(
        Estimate { value: -infinite, std_error: infinite, ess: 1.0 },
        r#"{"value":"-inf","std_error":null,"ess":1.0}"#,
    );
}

#[test]
fn what_is_no_estimate_is_not_read_or_written() {
    for text in [
        r#"{"value":null,"std_error":0.0,"ess":1.0}"#,
        r#"{"value":"infinite","std_error":0.0,"ess":1.0}"#,
        r#"{"value":1.0,"std_error":-0.5,"ess":1.0}"#,
        r#"{"value":1.0,"std_error":0.5,"ess":-1.0}"#,
        r#"{"value":1.0,"ess":1.0}"#,
        r#"{"value":1.0,"std_error":0.5,"ess":1.0,"n":3}"#,
    ] {
        assert!(serde_json::from_str::<Estimate>(text).is_err(), "{text}");
    }
    // Whole numbers are numbers.
    let whole = serde_json::from_str::<Estimate>(r#"{"value":-1,"std_error":2,"ess":3}"#).unwrap();
    assert_eq!(whole, Estimate { value: -1.0, std_error: 2.0, ess: 3.0 });
    for estimate in [
        Estimate { value: f64::NAN, std_error: 0.0, ess: 1.0 },
        Estimate { value: 0.0, std_error: f64::NAN, ess: 1.0 },
        Estimate { value: 0.0, std_error: -1.0, ess: 1.0 },
    ] {
        assert!(serde_json::to_string(&estimate).is_err(), "{estimate:?}");
    }
}

#[test]
fn numbers_that_python_writes_are_read_where_they_may_be_infinite() {
    let read = |text: &str| serde_json::from_str::<Estimate>(&disco_core::infinite::from_python(text));
    let found = read(r#"{"value": -Infinity, "std_error": Infinity, "ess": 1}"#).unwrap();
    assert_eq!(found, Estimate { value: f64::NEG_INFINITY, std_error: f64::INFINITY, ess: 1.0 });
    let error = read(r#"{"value": NaN, "std_error": 0, "ess": 1}"#).unwrap_err().to_string();
    assert!(error.contains("\"NaN\", expected a number, \"inf\" or \"-inf\""), "{error}");
    assert!(read(r#"{"value": 1, "std_error": -Infinity, "ess": 1}"#).is_err());
}

fn accumulated(samples: &[(f64, f64)]) -> ImportanceAccumulator {
    let mut accumulator = ImportanceAccumulator::new(1);
    samples.iter().for_each(|(log_weight, value)| accumulator.add(*log_weight, &[*value]).unwrap());
    accumulator
}

#[test]
fn an_accumulator_comes_back_from_json() {
    let impossible = f64::NEG_INFINITY;
    let many: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i % 37) - 900.0, f64::from(i).sqrt())).collect();
    for samples in [&[][..], &[(impossible, 1.0)], &[(-3.0, 5.0)], &[(0.0, -1e150), (800.0, 1e150)], &many] {
        let accumulator = accumulated(samples);
        let text = serde_json::to_string(&accumulator).unwrap();
        let read: ImportanceAccumulator = serde_json::from_str(&text).unwrap();
        assert_eq!(read, accumulator);
        // Reading and adding goes on where it was.
        let (mut read, mut accumulator) = (read, accumulator);
        read.add(-1.0, &[2.0]).unwrap();
        accumulator.add(-1.0, &[2.0]).unwrap();
        assert_eq!(read, accumulator);
    }
}

#[test]
fn an_accumulator_does_not_grow() {
    let numbers = |samples: usize| {
        let stream: Vec<(f64, f64)> = (0..samples).map(|i| ((i as f64).sin(), (i as f64).cos())).collect();
        serde_json::to_string(&accumulated(&stream)).unwrap().matches(':').count()
    };
    assert_eq!(numbers(100_000), numbers(1));
}

#[test]
fn sums_that_no_samples_have_are_refused() {
    let good = serde_json::to_value(accumulated(&[(0.0, 1.0), (-1.0, 3.0), (-2.0, -1.0)])).unwrap();
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = good.clone();
        change(&mut json);
        assert_ne!(json, good);
        let error =
            serde_json::from_value::<ImportanceAccumulator>(json.clone()).expect_err(&json.to_string());
        error.to_string()
    };
    assert!(serde_json::from_value::<ImportanceAccumulator>(good.clone()).is_ok());
    let sum = broken(&|json| json["sum"] = json!(0.0));
    assert_eq!(sum, "sum of an accumulator is 0; allowed: 1 to 3, in units of the largest of 3 weights");
    assert!(broken(&|json| json["sum"] = json!(3.1)).contains("sum of an accumulator"));
    assert!(broken(&|json| json["count"] = json!(1)).contains("sum of an accumulator"));
    assert!(broken(&|json| json["squares"] = json!(1e9)).contains("sum of squares"));
    assert!(broken(&|json| json["scale"] = json!(null)).contains("sum of an accumulator"));
    let field = |name: &'static str, value: f64| {
        broken(&|json: &mut serde_json::Value| json["quantities"][0][name] = json!(value))
    };
    assert!(field("square_second", -1.0).contains("square_second of quantity 0"));
    assert!(field("square_first", 1e9).contains("square_first of quantity 0"));
    broken(&|json| json["quantities"][0]["first"] = json!(null));
    broken(&|json| json["more"] = json!(1));
}
