//! The protocol of programs and servers that give values: JSON, a batch a line.
//!
//! Request: `{"id": 7, "features": ["polite"], "samples": [{"context": .., "text": .., "tokens": 12, "finished": true, "columns":
//! {..}}, ..]}`. Answer: `{"id": 7, "values": [[0.5], ..]}` with one row per sample and one value per feature, or `{"id": 7,
//! "error": ".."}`. A value is a number, `true` (1), `false` (0), or, for a sample that is to be skipped, `null` or `{"skip":
//! "why"}`.

use disco_core::{Score, Skipped};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{contexts::Columns, http::Secrets, terminal::cut};

/// The longest reason of a skipped sample that is kept, in characters.
const LONGEST_REASON: usize = 200;

/// The allowed values, in words.
const VALUES: &str =
    "a finite number, true, false, or null or {\"skip\": \"why\"} for a sample that is to be skipped";

/// A sample as a program sees it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ScoredSample<'a> {
    /// The text that the sample continues or answers.
    pub context: &'a str,
    /// The text of the sample, without its context.
    pub text: &'a str,
    /// The number of its tokens, the end token included.
    pub tokens: usize,
    /// Whether the model ended it; otherwise it was cut off.
    pub finished: bool,
    /// The columns of its context.
    pub columns: &'a Columns,
}

/// A batch that got no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchFault {
    /// The sample of the batch whose value is wrong, where it is one sample's.
    pub(super) sample: Option<usize>,
    /// The problem, in words.
    pub(super) problem: String,
}

impl From<String> for BatchFault {
    fn from(problem: String) -> Self {
        Self { sample: None, problem }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    id: u64,
    features: &'a [String],
    samples: &'a [ScoredSample<'a>],
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    values: Option<Vec<Vec<Value>>>,
    error: Option<Value>,
}

/// The line that asks for the values of a batch, without its newline.
pub(super) fn request(id: u64, features: &[String], samples: &[ScoredSample<'_>]) -> Vec<u8> {
    serde_json::to_vec(&Request { id, features, samples })
        .expect("text and numbers can always be written as JSON")
}

/// The rows of the answer to batch `id`: per sample one score per feature. `secrets` are hidden in what is told of it.
///
/// # Errors
/// The problem with the answer.
pub(super) fn rows(
    answer: &[u8],
    id: u64,
    features: &[String],
    samples: usize,
    secrets: &Secrets,
) -> Result<Vec<Vec<Score>>, BatchFault> {
    let read: Answer = serde_json::from_slice(answer).map_err(|cause| unreadable(answer, &cause, secrets))?;
    if let Some(error) = read.error {
        let said = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
        return Err(format!("it reports an error: {}", secrets.beginning(said.as_bytes())).into());
    }
    if read.id != Some(id) {
        let given = read.id.map_or("no id".into(), |given| format!("id {given}"));
        return Err(format!("it answered with {given} where id {id} was asked").into());
    }
    let Some(values) = read.values else {
        return Err("its answer has neither `values` nor `error`".to_owned().into());
    };
    if values.len() != samples {
        return Err(format!("it answered with {} rows of values for {samples} samples", values.len()).into());
    }
    let row = |(index, row): (usize, &Vec<Value>)| {
        if row.len() != features.len() {
            let problem = format!("it gave {} values for {} features", row.len(), features.len());
            return Err(BatchFault { sample: Some(index), problem });
        }
        row.iter().zip(features).map(|(value, feature)| score(value, feature, index, secrets)).collect()
    };
    values.iter().enumerate().map(row).collect()
}

/// The score that a value of sample `index` stands for; `secrets` are hidden in what is told of it.
///
/// # Errors
/// For what is no value.
pub(super) fn score(
    value: &Value,
    feature: &str,
    index: usize,
    secrets: &Secrets,
) -> Result<Score, BatchFault> {
    let skipped = |reason: &str| Ok(Err(Skipped::new(feature, cut(&secrets.hide(reason), LONGEST_REASON))));
    let number = match value {
        Value::Bool(holds) => Some(f64::from(u8::from(*holds))),
        Value::Number(number) => number.as_f64().filter(|number| number.is_finite()),
        Value::Null => return skipped("it gave null"),
        Value::Object(object) if object.len() == 1 => match object.get("skip") {
            Some(Value::String(reason)) => return skipped(reason),
            _ => None,
        },
        _ => None,
    };
    number.map(Ok).ok_or_else(|| BatchFault {
        sample: Some(index),
        problem: format!(
            "feature `{feature}`: {} is no value; allowed: {VALUES}",
            secrets.beginning(value.to_string().as_bytes())
        ),
    })
}

/// The problem with an answer that is no JSON of the expected form; `secrets` are hidden in it.
pub(super) fn unreadable(answer: &[u8], cause: &serde_json::Error, secrets: &Secrets) -> BatchFault {
    let shown = secrets.beginning(answer);
    if let Err(cause) = std::str::from_utf8(answer) {
        return format!("its answer is not UTF-8 at byte {}: {shown}", cause.valid_up_to()).into();
    }
    // Python's json module writes these, which JSON does not have. serde's column is that of the first letter that is wrong, which
    // may be the second of -Infinity.
    let place = answer.get(cause.column().saturating_sub(2)..).unwrap_or_default();
    let is_there = |name: &&str| {
        place[..place.len().min(name.len() + 2)].windows(name.len()).any(|part| part == name.as_bytes())
    };
    match ["NaN", "-Infinity", "Infinity"].iter().find(|name| is_there(name)) {
        Some(name) => format!("its answer has {name}, which is no value (and no JSON); allowed: {VALUES}"),
        None => format!("its answer is no JSON object as documented ({cause}): {shown}"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Vec<String> {
        vec!["polite".into(), "short".into()]
    }

    #[test]
    fn a_request_is_a_line_of_the_documented_form() {
        let columns = Columns::from([("job".to_owned(), Value::from("baker"))]);
        let sample =
            ScoredSample { context: "Hello", text: " wor\nld", tokens: 3, finished: true, columns: &columns };
        let line = request(7, &features(), &[sample]);
        let expected = r#"{"id":7,"features":["polite","short"],"samples":[{"context":"Hello","text":" wor\nld","tokens":3,"finished":true,"columns":{"job":"baker"}}]}"#;
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn numbers_truth_values_and_skips_are_values() {
        let line = br#"{"id": 7, "values": [[0.5, true], [null, false], [{"skip": "no text"}, -3e2]]}"#;
        let rows = rows(line, 7, &features(), 3, &Secrets::default()).unwrap();
        assert_eq!(rows[0], [Ok(0.5), Ok(1.0)]);
        assert_eq!(rows[1], [Err(Skipped::new("polite", "it gave null")), Ok(0.0)]);
        assert_eq!(rows[2], [Err(Skipped::new("polite", "no text")), Ok(-300.0)]);
    }

    #[test]
    fn an_answer_of_another_form_is_told_with_its_sample_and_feature() {
        let fault = |line: &str| rows(line.as_bytes(), 7, &features(), 2, &Secrets::default()).unwrap_err();
        for (line, told) in [
            (r#"{"id": 8, "values": [[0, 0], [0, 0]]}"#, "id 8 where id 7 was asked"),
            (r#"{"values": [[0, 0], [0, 0]]}"#, "no id where id 7 was asked"),
            (r#"{"id": 7}"#, "neither `values` nor `error`"),
            (r#"{"id": 7, "values": [[0, 0]]}"#, "1 rows of values for 2 samples"),
            (r#"{"id": 7, "values": [[0, 0], [NaN, 0]]}"#, "NaN, which is no value"),
            (r#"{"id": 7, "values": [[0, 0], [-Infinity, 0]]}"#, "-Infinity, which is no value"),
            (r#"{"id": 7, "values": [[Infinity, 0], [0, 0]]}"#, "has Infinity, which is no value"),
            (r#"{"id": 7, "values": [[1e999, 0], [0, 0]]}"#, "no JSON object as documented"),
            (r#"{"id": 7, "error": "no model: NaN"}"#, "reports an error: \"no model: NaN\""),
            (r#"NaN is what I say"#, "has NaN"),
            ("hello: NaN", "no JSON object as documented"),
            ("[1, 2]", "no JSON object as documented"),
            ("", "no JSON object as documented"),
        ] {
            let BatchFault { sample, problem } = fault(line);
            assert!(sample.is_none() && problem.contains(told), "{line}: {problem}");
        }
        for (line, told) in [
            (r#"{"id": 7, "values": [[0, 0], [0]]}"#, "it gave 1 values for 2 features"),
            (r#"{"id": 7, "values": [[0, 0], [0, "1"]]}"#, "feature `short`: \"\\\"1\\\"\" is no value"),
            (r#"{"id": 7, "values": [[0, 0], [0, {"skip": 1}]]}"#, "feature `short`"),
        ] {
            let BatchFault { sample, problem } = fault(line);
            assert!(sample == Some(1) && problem.contains(told), "{line}: {problem}");
        }
        let line = b"{\"id\": 7, \"values\": \xff}";
        let problem = rows(line, 7, &features(), 2, &Secrets::default()).unwrap_err().problem;
        assert!(problem.contains("not UTF-8 at byte 20"), "{problem}");
    }

    #[test]
    fn long_foreign_text_is_cut() {
        let reason = "ä".repeat(1000);
        let line = format!(r#"{{"id": 7, "values": [[{{"skip": "{reason}"}}]]}}"#);
        let rows = rows(line.as_bytes(), 7, &features()[..1], 1, &Secrets::default()).unwrap();
        assert_eq!(rows[0][0].as_ref().unwrap_err().reason(), format!("{}...", "ä".repeat(200)));
    }
}
