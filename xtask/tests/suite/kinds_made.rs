//! Categories, and features that are made of other features.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use disco_core::{Score, Skipped};
use xtask::{
    ClassifierSpec, FeatureKind, LabelValue, Marks, ModelSource, SampleView, TextContext, TextFeature,
    TextFeatures, TextScorer, TextScorers,
};

use crate::kinds::{Sample, features, spec, values};

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
    assert_eq!(Marks::new(&spec.features).of(None, "so what? who?")[0], 3..8);
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
    spec.features[0].kind = with_classifier();
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
    spec.features[1].kind = FeatureKind::Not { of: "no".into() };
    let error = TextFeatures::new(&spec.features, &scorers).unwrap_err().to_string();
    assert!(error.contains("`small` cannot be made of other features: there is no `no`"), "{error}");
    spec.features[1].kind = FeatureKind::Not { of: "small".into() };
    let error = TextFeatures::new(&spec.features, &scorers).unwrap_err().to_string();
    assert!(error.contains("it is made of itself"), "{error}");
}

pub(crate) fn with_classifier() -> FeatureKind {
    FeatureKind::Classifier(ClassifierSpec {
        model: ModelSource::Embedded,
        label: "long".into(),
        value: LabelValue::Logit,
        temperature: 1.0,
        truncate: false,
    })
}
