//! Contexts and samples that a caller has as `str` or `[u32]` need no owned copy.

use std::sync::Arc;

use disco_core::{
    Condition, Distribution, Exponential, Failure, Feature, Mixture, Parallel, Product, Result, Sampled,
    Score, Scorer, ScorerExt, Space, Streams, distribution, feature, predicate, scorer, try_feature,
    try_scorer,
};

/// Draws one of two answers, whatever the question; scores answers as `str`.
struct Answers;

impl Scorer<str, String> for Answers {
    fn log_scores(&self, question: &str, samples: &[&String]) -> Result<Vec<Score>> {
        assert!(!question.is_empty());
        Ok(samples.iter().map(|_| Ok(0.5f64.ln())).collect())
    }
}

impl Distribution<str, String> for Answers {
    fn sample(&self, _: &str, streams: &Streams) -> Result<Vec<Sampled<String>>> {
        let answer = |index: usize| if index.is_multiple_of(2) { "yes" } else { "no" };
        let sampled = |index| Sampled { value: answer(index).to_string(), log_prob: 0.5f64.ln() };
        Ok((0..streams.len()).map(sampled).collect())
    }
}

#[test]
fn scorers_and_their_algebra_take_str_and_slices() -> Result<()> {
    let shorter = scorer(|_: &str, text: &str| -(text.len() as f64));
    let no_spaces = Condition::never(predicate("spaces", |_: &str, text: &str| text.contains(' ')));
    let long =
        Exponential { feature: feature("length", |_: &str, text: &str| text.len() as f64), coefficient: 2.0 };
    let target = Parallel::new(Product(no_spaces, shorter * long).power(0.5)?);
    assert_eq!(target.log_scores("any context", &["four", "a b"])?, [Ok(2.0), Ok(f64::NEG_INFINITY)]);

    let ids = feature("ids", |context: &[u32], ids: &[u32]| (context.len() + ids.len()) as f64);
    let boxed: Box<dyn Feature<[u32], [u32]>> = Box::new(ids);
    assert_eq!(boxed.values(&[1], &[&[2, 3], &[]])?, [Ok(3.0), Ok(1.0)]);

    let number = |_: &str, text: &str| text.parse().map_err(|_| Failure::Skip("no number".into()));
    let either = (try_scorer("number", number), try_feature("number", number));
    assert_eq!(either.0.log_scores("", &["-0.5"])?, either.1.values("", &["-0.5"])?);
    Ok(())
}

#[test]
fn distributions_take_a_str_as_context() -> Result<()> {
    let streams = Streams::new(7, 4);
    let dynamic: Arc<dyn Distribution<str, String>> = Arc::new(Answers);
    let mixture = Mixture::new([(0.5, Arc::clone(&dynamic)), (0.5, dynamic)])?;
    let samples = Parallel::new(mixture).sample("Is it so?", &streams)?;
    assert_eq!(samples.len(), 4);

    let echo = distribution(
        |context: &str, _| context.to_string(),
        |context: &str, text: &String| {
            if text == context { 0.0 } else { f64::NEG_INFINITY }
        },
    );
    assert_eq!(echo.sample("so", &streams)?[3], Sampled { value: "so".to_string(), log_prob: 0.0 });

    let space = Space::new(["yes".to_string(), "no".to_string()])?;
    assert!(space.log_z(&Answers, "Is it so?")?.abs() < 1e-12);
    assert_eq!(space.uniform().log_probs("Is it so?", &[&"no".to_string()])?, [0.5f64.ln()]);
    Ok(())
}
