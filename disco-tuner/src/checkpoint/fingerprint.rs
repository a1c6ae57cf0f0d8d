//! The fingerprint of a run: everything that its steps depend on, except the policy.

use std::collections::{BTreeMap, BTreeSet};

use disco_core::{Contexts, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{config::TunerConfig, problem::Problem, storage::crc32c};

/// Settings that may differ between a checkpoint and the run that resumes from it: a run may be made longer, and its
/// micro-batches smaller where memory was too short.
const FREE: [&str; 2] = ["steps", "micro_batch"];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fingerprint {
    settings: BTreeMap<String, Value>,
    /// A checksum of each context and its weight.
    contexts: Vec<u32>,
    held_out: Option<Vec<u32>>,
    /// The facts that the caller gives of target and samples.
    facts: BTreeMap<String, Value>,
}

impl Fingerprint {
    /// The fingerprint of a run with these settings; `divergence` is the name of the divergence that is minimised, which
    /// may be the caller's own.
    pub(crate) fn new<C: Serialize, X>(
        config: &TunerConfig,
        divergence: &str,
        problem: &Problem<'_, C, X>,
    ) -> Result<Self> {
        let failed = |cause| Error::failed("settings of a run", cause);
        let settings = serde_json::to_value(config).map_err(failed)?;
        let mut settings: BTreeMap<String, Value> = serde_json::from_value(settings).map_err(failed)?;
        settings.insert("divergence".into(), divergence.into());
        Ok(Self {
            settings,
            contexts: checksums(problem.contexts)?,
            held_out: problem.held_out.map(checksums).transpose()?,
            facts: problem.facts.clone(),
        })
    }

    /// Each difference, as `field: OLD in the checkpoint, NEW now`. `self` is the fingerprint in the checkpoint, after
    /// `done` steps.
    pub(crate) fn differences(&self, now: &Self, done: u64) -> Vec<String> {
        let mut found = differing(&self.settings, &now.settings, "");
        found.extend(differing(&self.facts, &now.facts, ""));
        if let Some(steps) = now.settings.get("steps").and_then(Value::as_u64)
            && steps < done
        {
            found.push(format!("steps: {done} are done in the checkpoint, {steps} now"));
        }
        found.extend(differing_contexts("contexts", &self.contexts, &now.contexts));
        match (&self.held_out, &now.held_out) {
            (Some(old), Some(new)) => found.extend(differing_contexts("held_out_contexts", old, new)),
            (None, None) => {}
            (old, _) => {
                let [first, second] = if old.is_some() { ["given", "none"] } else { ["none", "given"] };
                found.push(format!("held_out_contexts: {first} in the checkpoint, {second} now"));
            }
        }
        found
    }
}

fn checksums<C: Serialize>(contexts: &Contexts<C>) -> Result<Vec<u32>> {
    let checksum = |pair: (&C, &f64)| {
        let bytes = serde_json::to_vec(&pair).map_err(|cause| Error::failed("context in JSON", cause))?;
        Ok(crc32c(&bytes))
    };
    contexts.items().iter().zip(contexts.probabilities()).map(checksum).collect()
}

/// The leaves in which two objects differ.
fn differing(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>, path: &str) -> Vec<String> {
    let fields: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut found = Vec::new();
    for field in fields.into_iter().filter(|field| !path.is_empty() || !FREE.contains(&field.as_str())) {
        let (old, new) = (old.get(field), new.get(field));
        let name = format!("{path}{field}");
        if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
            let map = |object: &serde_json::Map<String, Value>| object.clone().into_iter().collect();
            found.extend(differing(&map(old), &map(new), &format!("{name}.")));
        } else if old != new {
            let show = |value: Option<&Value>| value.map_or("absent".into(), ToString::to_string);
            found.push(format!("{name}: {} in the checkpoint, {} now", show(old), show(new)));
        }
    }
    found
}

fn differing_contexts(what: &str, old: &[u32], new: &[u32]) -> Option<String> {
    if old.len() != new.len() {
        return Some(format!("{what}: {} in the checkpoint, {} now", old.len(), new.len()));
    }
    let others: Vec<usize> = (0..old.len()).filter(|&at| old[at] != new[at]).collect();
    let first = others.first()?;
    let count = others.len();
    Some(format!("{what}: {count} of {} are others than in the checkpoint, first number {first}", old.len()))
}
