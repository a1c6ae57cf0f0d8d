//! The cost of a run, as a dry run estimates it, and the table of it.

use super::{
    disk_space::DiskSpace,
    numbers::{grouped, megabytes},
    table::aligned,
};
use crate::terminal::visible_line;

/// The cost of a run before it is begun.
#[derive(Clone, Debug)]
pub(crate) struct RunCost {
    /// The stages, in order; none where the model could not be looked at.
    pub(crate) stages: Vec<StageCost>,
    /// The memory; `None` where it is not known.
    pub(crate) memory: Option<MemoryNeed>,
    pub(crate) disk: DiskSpace,
    /// The features whose programs and servers have answered.
    pub(crate) answered: Vec<String>,
    /// Sentences on what the numbers leave out.
    pub(crate) notes: Vec<String>,
}

/// The cost of a stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StageCost {
    pub(crate) name: &'static str,
    /// The least and the largest number of samples.
    pub(crate) samples: [usize; 2],
    /// The least and the most seconds.
    pub(crate) seconds: [f64; 2],
}

/// The memory of a run, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryNeed {
    /// The model as it is loaded, with this program.
    pub(crate) loaded: u64,
    /// The optimizer's state, and the tuned weights beside those of the base.
    pub(crate) tuned: u64,
    /// KV caches, activations and gradient, at their largest.
    pub(crate) working: u64,
    /// The samples, with their numbers.
    pub(crate) samples: u64,
    /// The bytes that this process can have; `None` where the system does not report it.
    pub(crate) available: Option<u64>,
}

impl MemoryNeed {
    /// All of it.
    pub(crate) fn needed(&self) -> u64 {
        self.loaded + self.tuned + self.working + self.samples
    }
}

/// The table of a run's cost, and a line for memory, disk and scorers; then a line for each note.
pub(crate) fn cost_table(cost: &RunCost) -> String {
    let mut text = String::new();
    if !cost.stages.is_empty() {
        let mut rows =
            vec![["stage", "samples", "ms a sample", "seconds (estimated)"].map(str::to_owned).to_vec()];
        rows.extend(cost.stages.iter().map(row));
        let sum = |end: usize| cost.stages.iter().map(|stage| stage.seconds[end]).sum();
        rows.push(vec!["all".into(), String::new(), String::new(), between([sum(0), sum(1)].map(seconds))]);
        text += &aligned(&rows);
        text.push('\n');
    }
    if let Some(memory) = &cost.memory {
        text += &memory_line(memory);
    }
    text += &format!(
        "disk     at least {} needed, {} available for {}\n",
        megabytes(cost.disk.needed),
        known(cost.disk.available),
        visible_line(&cost.disk.place.to_string_lossy())
    );
    if !cost.answered.is_empty() {
        let names: Vec<String> = cost.answered.iter().map(|name| visible_line(name)).collect();
        text +=
            &format!("scorers  the programs and servers of these features answer: {}\n", names.join(", "));
    }
    for note in &cost.notes {
        text += &format!("Note: {}\n", visible_line(note));
    }
    text
}

fn row(stage: &StageCost) -> Vec<String> {
    let StageCost { name, samples, seconds: [low, high] } = stage;
    let of_sample = match samples[1] {
        0 => String::new(),
        count => format!("{:.2}", 1000.0 * high / count as f64),
    };
    let samples =
        if samples[1] == 0 { String::new() } else { between(samples.map(|count| grouped(count as u64))) };
    vec![(*name).to_owned(), samples, of_sample, between([*low, *high].map(seconds))]
}

fn memory_line(memory: &MemoryNeed) -> String {
    let parts = [
        ("model as loaded", memory.loaded),
        ("tuned weights and optimizer", memory.tuned),
        ("KV caches, activations and gradient", memory.working),
        ("samples", memory.samples),
    ];
    let parts: Vec<String> =
        parts.iter().map(|(name, bytes)| format!("{name} {}", megabytes(*bytes))).collect();
    format!(
        "memory   about {} needed, {} available ({})\n",
        megabytes(memory.needed()),
        known(memory.available),
        parts.join(", ")
    )
}

/// A number of seconds with as many digits as an estimate deserves.
fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1}") } else { grouped(seconds.round() as u64) }
}

/// A range, or one value.
fn between([low, high]: [String; 2]) -> String {
    if low == high { high } else { format!("{low} to {high}") }
}

fn known(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "an unknown amount".into(), megabytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_sums_are_shown() {
        let stage = |name, samples, seconds| StageCost { name, samples, seconds };
        let cost = RunCost {
            stages: vec![
                stage("load", [0, 0], [0.25, 0.25]),
                stage("measure base", [2000, 2000], [4.0, 4.0]),
                stage("reject", [1500, 60_000], [3.0, 120.0]),
            ],
            memory: Some(MemoryNeed {
                loaded: 100_000_000,
                tuned: 20_000_000,
                working: 30_000_000,
                samples: 1_000_000,
                available: None,
            }),
            disk: DiskSpace { place: "out".into(), needed: 17_000_000, available: Some(5_000_000_000) },
            answered: vec!["polite".into()],
            notes: vec!["It is a guess.".into()],
        };
        let table = cost_table(&cost);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[2].starts_with("measure base") && lines[2].ends_with("4.0"), "{table}");
        assert!(lines[2].contains("2\u{202f}000  ") && lines[2].contains("2.00"), "{table}");
        assert!(
            lines[3].contains("1\u{202f}500 to 60\u{202f}000") && lines[3].ends_with("3.0 to 120"),
            "{table}"
        );
        assert!(lines[4].starts_with("all") && lines[4].ends_with("7.2 to 124"), "{table}");
        assert!(table.contains("memory   about 151 MB needed, an unknown amount available"), "{table}");
        assert!(
            table.contains("disk     at least 17 MB needed, 5\u{202f}000 MB available for out\n"),
            "{table}"
        );
        assert!(table.contains("answer: polite\n") && table.ends_with("Note: It is a guess.\n"), "{table}");
    }
}
