//! Samples of another engine, as JSON lines with a log-probability each: fit a target to them, save it, load it, and ask
//! how well other samples cover it. No model runs.
//!
//! `cargo run -p disco-ebm --example other_engine`

use std::io::Write;

use disco_core::{Distribution, Empirical, ImportanceWeights, PerContext, Scorer, Space, Streams, Table};
use disco_core::{feature, predicate};
use disco_ebm::{Constraint, FitConfig, Measured, SavedTarget, features};

/// The constraints: never "hail", "rain" in 60% of the answers, and a mean length of 4.2 letters.
fn constraints() -> disco_ebm::Result<Vec<Constraint<String, String>>> {
    let word = |name: &'static str| predicate(name, move |_: &String, text: &String| text == name);
    Ok(vec![
        Constraint::never(word("hail")),
        Constraint::moment(word("rain"), 0.6)?,
        Constraint::moment(feature("length", |_: &String, text: &String| text.len() as f64), 4.2)?,
    ])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let recorded = folder.path().join("samples.jsonl");
    engine(&recorded)?;

    // The features are evaluated once; any number of fits can follow.
    let base = Empirical::<String, String>::from_json_lines(&recorded)?;
    let measured = Measured::from_empirical(&base, &features(&constraints()?))?;
    let fit = measured.fit(&constraints()?, &FitConfig::default())?;
    let report = fit.report();
    println!("{} samples, worth {:.0} of the target", report.samples, report.ess.unwrap_or(f64::INFINITY));
    println!("KL(p || base) = {:.3} +- {:.3}", report.kl_from_base.value, report.kl_from_base.std_error);
    for found in &report.constraints {
        let coefficient = found.coefficient.map(|lambda| format!("lambda {:.3}", lambda.value));
        println!(
            "{}: {:.3} under the base, {:.3} +- {:.3} under the target; {}",
            found.feature,
            found.base.value,
            found.achieved.value,
            found.achieved.std_error,
            coefficient.unwrap_or_else(|| "pointwise".into())
        );
    }

    // A saved target finds its features by name, and scores what the base can score.
    let saved = folder.path().join("target.json");
    fit.save(&saved)?;
    let target = SavedTarget::load(&saved)?.bind(features(&constraints()?))?.target(&base);
    for context in base.contexts() {
        let samples = base.samples(context)?;
        let values: Vec<&String> = samples.iter().map(|sample| &sample.value).collect();
        let log_target: Vec<f64> =
            target.log_scores(context, &values)?.into_iter().collect::<Result<_, _>>()?;
        let log_base: Vec<f64> = samples.iter().map(|sample| sample.log_prob).collect();
        let weights = ImportanceWeights::new(&log_target, &log_base)?;
        println!("{context}: ln Z {:.3} +- {:.3}", weights.log_z().value, weights.log_z().std_error);
    }
    Ok(())
}

/// Plays the other engine: writes 5,000 answers to each of two questions.
fn engine(path: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    let words = ["rain", "sunshine", "hail", "fog", "wind"].map(str::to_owned);
    let table = |weights: [f64; 5]| -> disco_core::Result<Table<String>> {
        let sum: f64 = weights.iter().sum();
        Table::from_probabilities(Space::new(words.clone())?, &weights.map(|weight| weight / sum))
    };
    let model = PerContext::new([
        ("in March?".to_owned(), table([4.0, 3.0, 2.0, 2.0, 1.0])?),
        ("in July?".to_owned(), table([2.0, 6.0, 1.0, 1.0, 1.0])?),
    ])?;
    let mut file = std::fs::File::create(path)?;
    for (key, context) in ["in March?", "in July?"].into_iter().enumerate() {
        for drawn in model.sample(&context.to_owned(), &Streams::new(key as u64, 5_000))? {
            let line = serde_json::json!({
                "context": context, "sample": drawn.value, "log_prob": drawn.log_prob,
            });
            writeln!(file, "{line}")?;
        }
    }
    Ok(())
}
