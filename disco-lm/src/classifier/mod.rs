//! Encoders with a classification head: the probability of a label as a feature.

pub(crate) mod label_feature;
pub(crate) mod token_classifier;

pub use label_feature::{Classifier, LabelFeature, LabelValue, Overlong};
pub use token_classifier::TokenClassifier;
