//! Texts of a grammar with the model's own distribution among them.
//!
//! ```console
//! cargo run -p disco-lm --example grammar                                          # names of speakers, the embedded model
//! cargo run -p disco-lm --example grammar -- MODEL "A person as JSON: " person.json  # valid JSON under a schema, another model
//! ```
//!
//! A model under a grammar draws texts of the grammar only. Everyone who masks tokens stops there, but these texts have another
//! distribution than the model has among texts of the grammar. The product of the allowed masses, `a(x) / q(x)`, is at most 1, and a text
//! that is kept with this probability has the model's own distribution. The share that is kept is the probability of the grammar.

use std::{collections::BTreeMap, error::Error, time::Instant};

use disco_core::{Distribution, Scorer, Streams};
use disco_lm::{Backend, Completion, Generation, Grammar, LanguageModel};

/// Samples of the masked model.
const COUNT: usize = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let embedded = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/tiny-shakespeare");
    let model = arguments.first().map_or(embedded, String::as_str);
    let context = arguments.get(1).map_or("Good morrow, sir.\n\n", String::as_str);
    let grammar = match arguments.get(2) {
        Some(path) => Grammar::json_schema(&std::fs::read_to_string(path)?)?,
        None => Grammar::choices([
            "KING RICHARD III:\n",
            "ROMEO:\n",
            "JULIET:\n",
            "MENENIUS:\n",
            "First Citizen:\n",
        ])?,
    };

    let generation = Generation { max_new_tokens: 40, ..Generation::default() };
    let base = LanguageModel::load(model, &Backend::Flex.device()?, generation)?;
    let begin = Instant::now();
    let masked = base.under_grammar(&grammar)?;
    println!("the grammar is compiled in {:.2} s", begin.elapsed().as_secs_f64());
    println!("a short text has {:?} tokens", masked.shortest_accepted());

    let rate = |name: &str, model: &LanguageModel| -> Result<_, Box<dyn Error>> {
        let begin = Instant::now();
        let drawn = model.sample(context, &Streams::new(1, COUNT))?;
        let tokens: usize = drawn.iter().map(|sample| sample.value.tokens.len()).sum();
        println!("{name}: {tokens} tokens, {:.0} a second", tokens as f64 / begin.elapsed().as_secs_f64());
        Ok(drawn)
    };
    rate("without the grammar", &base)?;
    let drawn = rate("under the grammar", &masked)?;

    // The target: the model, and the condition that a sequence is a text of the grammar.
    let target = base * masked.grammar_condition().ok_or("the model is under a grammar")?;
    let samples: Vec<&Completion> = drawn.iter().map(|sample| &sample.value).collect();
    let scores = target.log_scores(context, &samples)?.into_iter().collect::<Result<Vec<f64>, _>>()?;
    let mut texts: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    let mut total = 0.0;
    for (sample, score) in drawn.iter().zip(scores) {
        let weight = (score - sample.log_prob).exp();
        assert!(weight <= 1.001, "a product of allowed masses");
        total += weight;
        let entry = texts.entry(&sample.value.text).or_default();
        entry[0] += 1.0 / COUNT as f64;
        entry[1] += weight;
    }
    println!("probability of the grammar: {:.3e}, the share that rejection keeps", total / COUNT as f64);
    println!("{:>10} {:>10}  text", "masked", "model");
    for (text, [masked, weight]) in texts.into_iter().take(20) {
        println!("{masked:>10.4} {:>10.4}  {text:?}", weight / total);
    }
    Ok(())
}
