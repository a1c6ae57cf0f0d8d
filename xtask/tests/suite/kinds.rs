//! The run file's own kinds of features, on texts whose values are counted by hand or by a few other lines.

use std::{
    fmt::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use disco_core::{Score, Skipped, StreamRng};
use rand::{RngExt, SeedableRng};
use xtask::{
    Columns, Marks, SampleView, Spec, TextContext, TextFeature, TextFeatures, TextSample, TextScorer,
    TextScorers, read_spec,
};

#[derive(Clone)]
struct Sample(String);

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
fn spec(features: &[(&str, &str)]) -> Spec {
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

fn features(features: &[(&str, &str)]) -> TextFeatures {
    TextFeatures::new(&spec(features).features, &TextScorers::new()).unwrap()
}

fn values(feature: &TextFeature, texts: &[&str]) -> Vec<Score> {
    let samples: Vec<Sample> = texts.iter().map(|&text| Sample(text.into())).collect();
    feature.scores_of(&"".into(), &samples.iter().collect::<Vec<_>>()).unwrap()
}

#[track_caller]
fn check(fields: &str, cases: &[(&str, f64)]) {
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

#[test]
fn a_category_is_a_feature_for_each_label() {
    let table = |fields: &str, texts: &[&str]| -> Vec<(String, Vec<f64>)> {
        let features = features(&[("commas", "kind = \"count\"; text = \",\""), ("it", fields)]);
        let number = |feature: &TextFeature| {
            values(feature, texts).into_iter().map(|score| score.unwrap()).collect::<Vec<_>>()
        };
        let own = features.iter().filter(|feature| feature.name().starts_with("it"));
        own.map(|feature| (feature.name().to_owned(), number(feature))).collect()
    };
    let choices = table(
        "kind = \"category\"; choices = [\"A\", \"A cat\", \"B+\"]",
        &["A", " A. No", "A cat sat", "A cats", "Ab", "B+ or", "B+x", "a", "", "\n\tB+"],
    );
    assert_eq!(
        choices,
        [
            ("it = A".to_owned(), vec![1., 1., 0., 1., 0., 0., 0., 0., 0., 0.]),
            ("it = A cat".to_owned(), vec![0., 0., 1., 0., 0., 0., 0., 0., 0., 0.]),
            ("it = B+".to_owned(), vec![0., 0., 0., 0., 0., 1., 0., 0., 0., 1.]),
            ("it = other".to_owned(), vec![0., 0., 0., 0., 1., 0., 1., 1., 1., 0.]),
        ]
    );
    let patterns = table(
        "kind = \"category\"; labels = [\"asks\", \"cries\"]; patterns = ['\\?', '[?!]']",
        &["what?!", "oh!", "no"],
    );
    assert_eq!(
        patterns.iter().map(|(_, values)| values.clone()).collect::<Vec<_>>(),
        [[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]]
    );
    let of = table(
        "kind = \"category\"; labels = [\"none\", \"one\"]; of = \"commas\"; ordered = true",
        &["", "a, b", "a, b, c"],
    );
    assert_eq!(
        of.iter().map(|(_, values)| values.clone()).collect::<Vec<_>>(),
        [[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]]
    );
    let spec = spec(&[("it", "kind = \"category\"; labels = [\"asks\"]; patterns = ['\\w+\\?']")]);
    assert_eq!(Marks::new(&spec.features).of(None, "so what? who?"), [3..8]);
}

/// Gives 2 for a long text, 0.5 for a short one, skips an empty one, and counts how often it is asked.
#[derive(Debug, Default)]
struct Lengths(AtomicUsize);

impl TextScorer for Lengths {
    fn scores(&self, _: &TextContext, samples: &[SampleView<'_>]) -> disco_core::Result<Vec<Score>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let score = |sample: &SampleView<'_>| match sample.text.len() {
            0 => Err(Skipped::new("size", "it is empty")),
            1..5 => Ok(0.5),
            _ => Ok(2.0),
        };
        Ok(samples.iter().map(score).collect())
    }
}

/// The features of a spec in which a classifier, which a scorer stands for, is part of several others.
fn with_scorer(scorer: &Arc<Lengths>) -> TextFeatures {
    let mut spec = spec(&[
        ("size", "kind = \"json\"; path = \"$\""),
        ("large", "kind = \"between\"; of = \"size\"; low = 2"),
        ("small", "kind = \"not\"; of = \"large\""),
        ("king", "kind = \"contains\"; text = \"king\""),
        ("both", "kind = \"all\"; of = [\"large\", \"king\", \"level = two\"]"),
        ("one", "kind = \"any\"; of = [\"king\", \"large\"]"),
        ("level", "kind = \"category\"; labels = [\"zero\", \"one\", \"two\"]; of = \"size\""),
    ]);
    spec.features[0].kind = xtask::FeatureKind::Classifier(xtask::ClassifierSpec {
        model: xtask::ModelSource::Embedded,
        label: "long".into(),
        value: xtask::LabelValue::Logit,
        temperature: 1.0,
        truncate: false,
    });
    let scorers: TextScorers = [("size".to_owned(), scorer.clone() as Arc<dyn TextScorer>)].into();
    TextFeatures::new(&spec.features, &scorers).unwrap()
}

#[test]
fn features_of_features_share_their_parts_and_skip_with_them() {
    let scorer = Arc::new(Lengths::default());
    let features = with_scorer(&scorer);
    let samples = ["the king", "king", "queens", "x", ""].map(|text| Sample(text.into()));
    let samples: Vec<&Sample> = samples.iter().collect();
    let all = features.scores_of_all(&"".into(), &samples).unwrap();
    assert_eq!(scorer.0.load(Ordering::Relaxed), 1);
    let skipped = || Err(Skipped::new("size", "it is empty"));
    let scored = |values: [f64; 4]| values.map(Ok).into_iter().chain([skipped()]).collect::<Vec<Score>>();
    for (index, (name, expected)) in [
        ("size", scored([2.0, 0.5, 2.0, 0.5])),
        ("large", scored([1.0, 0.0, 1.0, 0.0])),
        ("small", scored([0.0, 1.0, 0.0, 1.0])),
        ("king", [1.0, 1.0, 0.0, 0.0, 0.0].map(Ok).to_vec()),
        ("both", scored([1.0, 0.0, 0.0, 0.0])),
        ("one", scored([1.0, 1.0, 1.0, 0.0])),
        ("level = zero", scored([0.0, 0.0, 0.0, 0.0])),
        ("level = one", scored([0.0, 0.0, 0.0, 0.0])),
        ("level = two", scored([1.0, 0.0, 1.0, 0.0])),
        ("level = other", scored([0.0, 1.0, 0.0, 1.0])),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(features[index].name(), name);
        assert_eq!(all[index], expected, "{name}");
        // One feature alone, as constraints ask; the scorer's answers to the same samples are remembered.
        let alone = disco_core::Feature::values(&features[index], &"".into(), &samples).unwrap();
        assert_eq!(alone, expected, "{name}");
    }
    assert_eq!(scorer.0.load(Ordering::Relaxed), 1);
    // Other samples, and the same ones in another context, are asked for again.
    features.scores_of_all(&"".into(), &samples[..2]).unwrap();
    features.scores_of_all(&"there".into(), &samples[..2]).unwrap();
    assert_eq!(scorer.0.load(Ordering::Relaxed), 3);
}

/// Gives NaN for the second sample.
#[derive(Debug)]
struct Wrong;

impl TextScorer for Wrong {
    fn scores(&self, _: &TextContext, samples: &[SampleView<'_>]) -> disco_core::Result<Vec<Score>> {
        Ok((0..samples.len()).map(|index| Ok(if index == 1 { f64::NAN } else { 0.0 })).collect())
    }
}

#[test]
fn a_number_that_is_none_is_an_error_that_names_the_feature() {
    let mut spec =
        spec(&[("size", "kind = \"ends\""), ("small", "kind = \"between\"; of = \"size\"; high = 1")]);
    spec.features[0].kind = with_classifier();
    let scorers: TextScorers = [("size".to_owned(), Arc::new(Wrong) as Arc<dyn TextScorer>)].into();
    let features = TextFeatures::new(&spec.features, &scorers).unwrap();
    let samples = [Sample("a".into()), Sample("b".into())];
    let error = features[1].scores_of(&"".into(), &[&samples[0], &samples[1]]).unwrap_err();
    assert_eq!(error.to_string(), "size gave NaN for sample 1");
    // A spec that was not read but made can be wrong.
    spec.features[1].kind = xtask::FeatureKind::Not { of: "no".into() };
    let error = TextFeatures::new(&spec.features, &scorers).unwrap_err().to_string();
    assert!(error.contains("`small` cannot be made of other features: there is no `no`"), "{error}");
    spec.features[1].kind = xtask::FeatureKind::Not { of: "small".into() };
    let error = TextFeatures::new(&spec.features, &scorers).unwrap_err().to_string();
    assert!(error.contains("it is made of itself"), "{error}");
}

fn with_classifier() -> xtask::FeatureKind {
    xtask::FeatureKind::Classifier(xtask::ClassifierSpec {
        model: xtask::ModelSource::Embedded,
        label: "long".into(),
        value: xtask::LabelValue::Logit,
        temperature: 1.0,
        truncate: false,
    })
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
    assert_eq!(marks.of(Some(&bob), "to Bob (1)"), [3..10]);
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
