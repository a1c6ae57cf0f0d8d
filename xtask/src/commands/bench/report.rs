//! The measurements, as JSON and as a table.

use std::{fs, thread};

use serde::Serialize;

use super::{BenchOptions, Outcome, row::Row};
use crate::{Error, Result, results::plain};

/// A row with its numbers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    work: String,
    backend: &'static str,
    /// The median of disco's measurements.
    value: f64,
    unit: &'static str,
    /// The median of the peer's measurements.
    peer: Option<f64>,
    /// disco's median divided by the peer's: above 1 is better for tokens/s, below 1 for seconds and memory.
    ratio: Option<f64>,
    repetitions: u32,
    threads: u32,
    machine: String,
    /// The measurements of all repetitions.
    values: Vec<f64>,
    peer_values: Vec<f64>,
    programs: Vec<String>,
}

impl Measured {
    pub(super) fn new(
        row: Row,
        options: &BenchOptions,
        ours: &Outcome,
        theirs: Option<&Outcome>,
    ) -> Result<Self> {
        let values = row.values(ours);
        let lacking = || Error::answer(&format!("the row `{}`", row.name()), "nothing was measured");
        let value = median(&values).ok_or_else(lacking)?;
        let peer_values = theirs.map_or_else(Vec::new, |theirs| row.values(theirs));
        let peer = median(&peer_values);
        if theirs.is_some() && peer.is_none() {
            return Err(lacking());
        }
        let programs = [Some(ours), theirs].into_iter().flatten();
        Ok(Self {
            work: row.name(),
            backend: options.backend.feature(),
            value,
            unit: row.unit(),
            peer,
            ratio: peer.map(|peer| value / peer),
            repetitions: options.repetitions,
            threads: options.threads,
            machine: machine(),
            values,
            peer_values,
            programs: programs.map(|outcome| outcome.program.clone()).collect(),
        })
    }
}

/// The middle value, or the mean of the two in the middle; `None` for no values, or if one is not finite.
fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    Some(if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 })
}

/// Processor and cores, as the system names them.
fn machine() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let name = field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let vectors =
        if field("flags").is_some_and(|flags| flags.contains("avx512f")) { ", AVX-512" } else { "" };
    format!("{name}, {cores} cores{vectors}")
}

/// The rows as a table, with programs, machine and method.
pub(super) fn table(rows: &[Measured]) -> String {
    let mut lines = vec![["work", "disco", "peer", "ratio", "unit"].map(str::to_owned)];
    let shown = |value: Option<f64>| value.map_or_else(String::new, plain);
    for row in rows {
        lines.push([
            row.work.clone(),
            plain(row.value),
            shown(row.peer),
            shown(row.ratio),
            row.unit.to_owned(),
        ]);
    }
    let widths: [usize; 5] =
        std::array::from_fn(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for [work, ours, peer, ratio, unit] in &lines {
        let line = format!(
            "{work:<0$}  {ours:>1$}  {peer:>2$}  {ratio:>3$}  {unit}",
            widths[0], widths[1], widths[2], widths[3]
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if let Some(row) = rows.first() {
        let Measured { machine, threads, repetitions, programs, .. } = row;
        let programs = programs.join(" beside ");
        text.push_str(&format!(
            "\n{programs}; {machine}, {threads} threads; median of {repetitions} after a warm-up; float32, context of \
             7 tokens with SmolLM2's tokenizer, at most 40 new ones, log-probabilities wanted. Both may end a sequence early; tokens up \
             to its end are counted. The peer scores the very sequences that disco drew, and its steps have as many samples in \
             the target's support as disco's.\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }
}
