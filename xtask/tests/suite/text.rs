//! Features of a spec say of a text what they are documented to say.

use std::{path::Path, sync::Arc};

use disco_core::Score;
use xtask::{
    ClassifierSpec, FeatureKind, FeatureSpec, LabelValue, ModelSource, SampleView, Target, TextContext,
    TextFeature, TextSample, TextScorer, TextScorers, read_spec,
};

#[derive(Clone)]
struct Sample(&'static str, bool);

impl TextSample for Sample {
    fn text(&self) -> &str {
        self.0
    }

    fn token_count(&self) -> usize {
        self.0.len()
    }

    fn finished(&self) -> bool {
        self.1
    }
}

/// The feature of a spec with these fields.
fn feature(fields: &str) -> TextFeature {
    let target =
        if fields.contains("count") || fields.contains("length") { "mean = 1" } else { "mean = 0.5" };
    let text = format!(
        "[model]\nsource = \"embedded\"\n[contexts]\nlist = [\"\"]\n[[features]]\nname = \"it\"\n{fields}\n{target}\n"
    );
    TextFeature::new(&read_spec("test.toml", &text, Path::new("")).unwrap().features[0], &TextScorers::new())
        .unwrap()
}

#[track_caller]
fn check(fields: &str, cases: &[(&'static str, f64)]) {
    let feature = feature(fields);
    for &(text, expected) in cases {
        assert_eq!(
            feature.scores_of(&"".into(), &[&Sample(text, true)]).unwrap(),
            [Ok(expected)],
            "{fields}: {text:?}"
        );
    }
}

#[test]
fn words_are_found_by_case_and_boundary() {
    check(
        "kind = \"contains\"\ntext = \"king\"",
        &[("the king", 1.0), ("asking", 1.0), ("King", 0.0), ("", 0.0)],
    );
    let whole = "kind = \"contains\"\ntext = \"king\"\nwhole_word = true\nignore_case = true";
    check(
        whole,
        &[
            ("The KING!", 1.0),
            ("asking", 0.0),
            ("kings", 0.0),
            ("king_of", 0.0),
            ("king's", 1.0),
            ("éking", 0.0),
        ],
    );
    let punctuation = "kind = \"contains\"\ntext = \"C++\"\nwhole_word = true";
    check(punctuation, &[("in C++ today", 1.0), ("C++11", 0.0), ("C+", 0.0)]);
}

#[test]
fn words_are_counted_without_overlap() {
    check("kind = \"count\"\ntext = \"aa\"", &[("aaaa", 2.0), ("aaa", 1.0), ("b", 0.0)]);
    check("kind = \"count\"\ntext = \"o\"\nwhole_word = true", &[("o o oo", 2.0)]);
}

#[test]
fn patterns_beginnings_ends_and_lengths() {
    check("kind = \"regex\"\npattern = '^\\d+$'", &[("123", 1.0), ("12a", 0.0)]);
    check("kind = \"starts_with\"\ntext = \"Ah\"", &[("Ah, no", 1.0), (" Ah", 0.0)]);
    check("kind = \"ends\"\ntext = \".\"", &[("Yes.", 1.0), ("Yes. \n", 1.0), ("Yes", 0.0)]);
    check("kind = \"length\"\nunit = \"characters\"", &[("née", 3.0), ("", 0.0)]);
    check("kind = \"length\"\nunit = \"tokens\"", &[("née", 4.0)]);
    check("kind = \"length\"\nunit = \"words\"", &[(" one  two\n", 2.0)]);
    let ended = feature("kind = \"ends\"");
    assert_eq!(
        [true, false]
            .map(|finished| ended.scores_of(&"".into(), &[&Sample("x", finished)]).unwrap()[0].clone()),
        [Ok(1.0), Ok(0.0)]
    );
}

#[test]
fn occurrences_are_ranges_of_bytes() {
    assert_eq!(feature("kind = \"contains\"\ntext = \"é\"").occurrences("né é"), [1..3, 4..6]);
    assert_eq!(feature("kind = \"ends\"\ntext = \".\"").occurrences("a. ")[0], 1..2);
    assert!(feature("kind = \"ends\"").occurrences("a.").is_empty());
}

/// Gives a text its length.
#[derive(Debug)]
struct Lengths;

impl TextScorer for Lengths {
    fn scores(&self, _: &TextContext, samples: &[SampleView<'_>]) -> disco_core::Result<Vec<Score>> {
        Ok(samples.iter().map(|sample| Ok(sample.text.len() as f64)).collect())
    }
}

#[test]
fn a_text_scorer_is_given_all_texts_at_once_and_must_be_there() {
    let classifier = ClassifierSpec {
        model: ModelSource::Folder("somewhere".into()),
        label: "good".into(),
        value: LabelValue::Probability,
        temperature: 1.0,
        truncate: false,
    };
    let spec = FeatureSpec {
        name: "good".into(),
        kind: FeatureKind::Classifier(classifier),
        target: Target::Mean(0.5),
    };
    let scorers: TextScorers = [("good".to_string(), Arc::new(Lengths) as Arc<dyn TextScorer>)].into();
    let feature = TextFeature::new(&spec, &scorers).unwrap();
    let samples = [&Sample("four", true), &Sample("", false)];
    assert_eq!(feature.scores_of(&"".into(), &samples).unwrap(), [Ok(4.0), Ok(0.0)]);
    assert!(feature.occurrences("four").is_empty());
    let error = TextFeature::new(&spec, &TextScorers::new()).unwrap_err().to_string();
    assert!(error.contains("`good` needs a text scorer"), "{error}");
}
