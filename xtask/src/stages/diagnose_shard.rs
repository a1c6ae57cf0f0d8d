//! A shard of the stage "diagnose": lines with the values of the features, which programs and servers may give at any pace.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{DiagnoseStage, SampleLines};
use crate::{
    ProgressTarget, Result, Shard,
    samples::{SampleLine, StoredLine},
    steering::{RunPlan, values_of},
};

/// The number of samples whose values are asked for at once.
const CHUNK: usize = 256;

/// Writes the lines of a shard of the first file, in their order, with the values of all features. A diagnosis of the lines of all
/// shards, one after the other, is that of the file to the bit: it takes their values from the lines.
///
/// # Errors
/// Those of the features and of the place.
pub(crate) fn write_shard(stage: &DiagnoseStage, shard: Shard, mut lines: SampleLines) -> Result<()> {
    let spec = &stage.target.spec;
    let [(_, samples), ..] = &stage.sets[..] else { return lines.finish() };
    let scorers = stage.target.scorers(&stage.recorded[0])?;
    let plan = RunPlan::new(spec, &scorers, ProgressTarget::Hidden)?;
    let each = samples.iter().enumerate();
    let mut all: Vec<(usize, &StoredLine)> =
        each.flat_map(|(context, lines)| lines.iter().map(move |line| (context, line))).collect();
    all.sort_by_key(|(_, line)| line.place.line);
    let own = &all[shard.range(all.len())];
    let of_context = own.chunk_by(|(one, _), (next, _)| one == next);
    for chunk in of_context.flat_map(|lines| lines.chunks(CHUNK)) {
        let samples: Vec<_> = chunk.iter().map(|(_, line)| &line.sample).collect();
        let values = values_of(&plan.features, &spec.contexts.items[chunk[0].0], &samples)?;
        for ((_, line), values) in chunk.iter().zip(values) {
            let mut features: BTreeMap<&str, Option<f64>> =
                line.features.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            features.extend(plan.measures.iter().map(|measure| measure.name.as_str()).zip(values));
            lines.write(&SampleLine {
                context: &line.context,
                index: line.index,
                sample: &sample(line),
                log_prob: line.log_prob,
                log_base: line.log_base,
                log_target: line.log_target,
                features,
            })?;
        }
    }
    lines.finish()
}

/// The sample of a line with what its file tells of it.
fn sample(line: &StoredLine) -> Value {
    let mut sample = Map::from_iter([("text".to_owned(), json!(line.sample.text))]);
    if line.tells.tokens {
        let count = json!(line.sample.token_count);
        sample.insert("tokens".into(), line.sample.tokens.as_ref().map_or(count, |ids| json!(ids)));
    }
    if line.tells.finished {
        sample.insert("finished".into(), json!(line.sample.finished));
    }
    Value::Object(sample)
}
