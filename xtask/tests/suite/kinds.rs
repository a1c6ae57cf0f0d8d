//! The run file's own kinds of features, on texts whose values are counted by hand or by a few other lines: words and columns.

use std::{fmt::Write as _, path::Path};

use disco_core::{Score, StreamRng};
use rand::{RngExt, SeedableRng};
use xtask::{
    Columns, Marks, Spec, TextContext, TextFeature, TextFeatures, TextSample, TextScorers, read_spec,
};

use crate::kinds_made::with_classifier;

#[derive(Clone)]
pub(crate) struct Sample(pub(crate) String);

impl TextSample for Sample {
    fn text(&self) -> &str {
        &self.0
    }

    fn token_count(&self) -> usize {
        self.0.len()
    }

    fn finished(&self) -> bool {
        true
    }
}

/// A spec with these features, each a name and lines of fields that are parted by `; `.
pub(crate) fn spec(features: &[(&str, &str)]) -> Spec {
    let mut text =
        "[model]\nsource = \"embedded\"\n[contexts]\nfile = \"people.jsonl\"\ncolumn = \"name\"\n".to_owned();
    for (name, fields) in features {
        write!(text, "[[features]]\nname = '{name}'\n{}\n", fields.replace("; ", "\n")).unwrap();
    }
    text += "[[features]]\nname = \"asked\"\nkind = \"ends\"\nmean = 0.5\n";
    let folder = tempfile::tempdir().unwrap();
    let rows = "{\"name\": \"Ann\", \"entity\": \"Bob (1)\"}\n{\"name\": \"Eve\", \"entity\": 7}\n";
    std::fs::write(folder.path().join("people.jsonl"), rows).unwrap();
    std::fs::write(folder.path().join("words.txt"), "\u{feff}she\n\n her \nof course\n").unwrap();
    read_spec("kinds.toml", &text, folder.path()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn features(features: &[(&str, &str)]) -> TextFeatures {
    TextFeatures::new(&spec(features).features, &TextScorers::new()).unwrap()
}

pub(crate) fn values(feature: &TextFeature, texts: &[&str]) -> Vec<Score> {
    let samples: Vec<Sample> = texts.iter().map(|&text| Sample(text.into())).collect();
    feature.scores_of(&"".into(), &samples.iter().collect::<Vec<_>>()).unwrap()
}

#[track_caller]
pub(crate) fn check(fields: &str, cases: &[(&str, f64)]) {
    let feature = features(&[("it", fields)])[0].clone();
    for &(text, expected) in cases {
        assert_eq!(values(&feature, &[text]), [Ok(expected)], "{fields}: {text:?}");
    }
}

#[test]
fn words_of_a_list_are_found_counted_and_compared() {
    let she = "kind = \"words\"; list = [\"she\", \"her\"]";
    let cases = [
        ("She came.", 1.0),
        ("ashes, there", 0.0),
        ("SHE'S here", 1.0),
        ("she’d go", 1.0),
        ("she-wolf", 0.0),
        ("she--they", 1.0),
        ("", 0.0),
        ("_she_", 0.0),
    ];
    check(she, &cases);
    check(&format!("{she}; ignore_case = false"), &[("She", 0.0), ("she", 1.0)]);
    let count = "value = \"count\"; mean = 1";
    check(&format!("{she}; {count}"), &[("She saw her; her, she", 4.0), ("he", 0.0)]);
    // Two of seven words, and one of one; a text without words has no share.
    let share = "value = \"share\"; mean = 0.5";
    check(
        &format!("{she}; {share}"),
        &[("I don't think she knows her mother-in-law", 2.0 / 7.0), ("her", 1.0), ("?!", 0.0)],
    );
    let sign = format!("{she}; value = \"sign\"; against = [\"he\", \"him\"]; mean = 0");
    check(&sign, &[("she and he and her", 1.0), ("he saw her, him", -1.0), ("he, she", 0.0), ("they", 0.0)]);
    let file = "kind = \"words\"; file = \"words.txt\"; value = \"count\"; mean = 1";
    check(file, &[("Of Course she, her", 3.0), ("of", 0.0)]);
}

#[test]
fn entries_of_several_words_are_found_before_shorter_ones() {
    let list = "kind = \"words\"; list = [\"New York\", \"York\", \"new york city\", \"don't know\"]";
    let count = format!("{list}; value = \"count\"; mean = 1");
    let cases = [
        ("New York", 1.0),
        ("new\n york York", 2.0),
        ("New York City hall", 1.0),
        ("new york, city", 1.0),
        ("New, York", 1.0),
        ("New York's", 1.0),
        ("I don’t know", 1.0),
        ("New", 0.0),
    ];
    check(&count, &cases);
    let share = format!("{list}; value = \"share\"; mean = 0.5");
    check(&share, &[("in New York City now", 3.0 / 5.0), ("in York", 0.5)]);
    let marks = |text: &str| Marks::new(&spec(&[("it", &count)]).features).of(None, text);
    assert_eq!(marks("é New  York, York!"), [3..12, 14..18]);
}

/// Cases whose folded forms stand in Unicode's CaseFolding.txt (status C and F).
#[test]
fn upper_and_lower_case_are_those_of_unicode() {
    let list = "kind = \"words\"; list = [\"straße\", \"ΣΟΦΟΣ\", \"ÉLAN\", \"ﬁt\", \"ırmak\"]";
    let folded = ["STRASSE", "Strasse", "STRAẞE", "σοφος", "σοφός", "σοφοσ", "élan", "FIT", "Irmak"];
    let feature = features(&[("it", list)])[0].clone();
    let expected = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0].map(Ok);
    assert_eq!(values(&feature, &folded), expected);
}

/// Beside a loop over characters, which knows nothing of regular expressions and looks each word up in the list.
#[test]
fn ten_thousand_words_give_what_a_plain_loop_gives() {
    let list: Vec<String> = (0..10_000).map(|number| format!("w{}", number * 3)).collect();
    let feature = |value: &str| {
        let fields = format!("kind = \"words\"; list = {list:?}; value = \"{value}\"; mean = 0.5");
        features(&[("it", &fields)])[0].clone()
    };
    let (count, share) = (feature("count"), feature("share"));
    let mut rng = StreamRng::seed_from_u64(5);
    for _ in 0..50 {
        let words: Vec<String> =
            (0..rng.random_range(1..200)).map(|_| format!("W{}", rng.random_range(0..40_000))).collect();
        let text = words.join([" ", ", ", "\n", "--"][rng.random_range(0..4)]);
        let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let is_listed = |word: &str| {
            let number: u32 = word[1..].parse().unwrap();
            number.is_multiple_of(3) && number < 30_000
        };
        let found = parts.filter(|word| is_listed(word)).count() as f64;
        assert_eq!(values(&count, &[&text]), [Ok(found)], "{text}");
        assert_eq!(values(&share, &[&text]), [Ok(found / words.len() as f64)], "{text}");
    }
}

#[test]
fn a_text_that_is_looked_for_can_be_a_column() {
    let text = "text = { column = \"entity\" }";
    let features = features(&[
        ("contains", &format!("kind = \"contains\"; {text}; ignore_case = true")),
        ("count", &format!("kind = \"count\"; {text}")),
        ("starts", &format!("kind = \"starts_with\"; {text}")),
        ("ends", &format!("kind = \"ends\"; {text}")),
    ]);
    let row = |json: serde_json::Value| -> TextContext {
        TextContext::new("", serde_json::from_value::<Columns>(json).unwrap())
    };
    let table = |context: &TextContext, texts: [&str; 3]| -> Vec<Vec<f64>> {
        let samples = texts.map(|text| Sample(text.into()));
        let samples: Vec<&Sample> = samples.iter().collect();
        let all = features.scores_of_all(context, &samples).unwrap();
        all[..4].iter().map(|scores| scores.iter().map(|score| *score.as_ref().unwrap()).collect()).collect()
    };
    // A bracket is a bracket, and no part of a pattern.
    let bob = row(serde_json::json!({"entity": "Bob (1)"}));
    let expected = [[1., 1., 0.], [1., 0., 0.], [1., 0., 0.], [1., 0., 0.]];
    assert_eq!(table(&bob, ["Bob (1)", "by BOB (1)s", "Bob 1"]), expected);
    let seven = row(serde_json::json!({"entity": 7}));
    assert_eq!(
        table(&seven, ["77", "x7", "Bob (1)"]),
        [[1., 1., 0.], [2., 1., 0.], [1., 0., 0.], [1., 1., 0.]]
    );
    let error = features[0].scores_of(&"".into(), &[&Sample("x".into())]).unwrap_err();
    assert!(error.to_string().contains("contains failed: there is no field `entity`"), "{error}");
    let marks = Marks::new(&spec(&[("it", &format!("kind = \"contains\"; {text}"))]).features);
    assert_eq!(marks.of(Some(&bob), "to Bob (1)")[0], 3..10);
    assert!(marks.of(None, "to Bob (1)").is_empty());
}

#[test]
fn the_range_of_a_kind_is_known() {
    let range = |fields: &str| {
        let spec = spec(&[("len", "kind = \"length\"; unit = \"words\""), ("it", fields)]);
        spec.features[1].kind.range()
    };
    let words = "kind = \"words\"; list = [\"a\"]; value =";
    assert_eq!(range(&format!("{words} \"presence\"")), (0.0, 1.0));
    assert_eq!(range(&format!("{words} \"share\"")), (0.0, 1.0));
    assert_eq!(range(&format!("{words} \"count\"")), (0.0, f64::INFINITY));
    assert_eq!(range(&format!("{words} \"sign\"; against = [\"b\"]")), (-1.0, 1.0));
    assert_eq!(range("kind = \"json\""), (0.0, 1.0));
    assert_eq!(range("kind = \"json\"; path = \"$\""), (f64::NEG_INFINITY, f64::INFINITY));
    assert_eq!(range("kind = \"between\"; of = \"len\"; low = 3"), (0.0, 1.0));
    assert_eq!(range("kind = \"length\"; unit = \"tokens\""), (0.0, f64::INFINITY));
    assert_eq!(range("kind = \"category\"; choices = [\"A\"]"), (0.0, 1.0));
    assert_eq!(with_classifier().range(), (f64::NEG_INFINITY, f64::INFINITY));
}

/// Paths are seen from the folder of the run file, wherever the program is.
#[test]
fn the_run_files_of_the_repository_have_these_kinds() {
    for (text, labels) in
        [(include_str!("../../specs/words.toml"), 0), (include_str!("../../specs/category.toml"), 3)]
    {
        let spec = read_spec("it.toml", text, Path::new("nowhere")).unwrap();
        let categories = spec.features.iter().filter(|feature| feature.kind.labels().is_some()).count();
        assert_eq!(categories, labels);
        let features = TextFeatures::new(&spec.features, &TextScorers::new()).unwrap();
        assert_eq!(features.len(), spec.measures().len());
    }
}
