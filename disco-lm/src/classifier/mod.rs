//! How does a classifier become a feature? Encoders with a classification head, and the probability of a label.

pub(crate) mod label_feature;
pub(crate) mod token_classifier;

pub use label_feature::{Classifier, LabelFeature, LabelValue, Overlong};
pub use token_classifier::TokenClassifier;
