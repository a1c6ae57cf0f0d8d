//! The memory of a run, from that of a few samples.

use super::probe::Probe;
use crate::{
    features::TextSample,
    process::{memory_limit, system_memory},
    results::MemoryNeed,
    spec::Spec,
    steering::{WeightBytes, workflow::optimizer_states},
};

/// The number of sequences that are drawn at once: the default of disco-lm, which run files do not change.
const DRAWN_AT_ONCE: usize = 128;

/// The memory of a run whose samples take `samples` bytes; `None` where the system does not tell that of this process.
pub(super) fn memory_need<X: TextSample>(
    spec: &Spec,
    tunes: bool,
    weights: WeightBytes,
    probe: &Probe<X>,
    samples: u64,
) -> Option<MemoryNeed> {
    let loaded = probe.loaded?;
    let sampling = at(&probe.sampling, loaded, DRAWN_AT_ONCE);
    let gradient = if tunes { at(&probe.gradient, loaded, probe.at_once(spec)) } else { loaded };
    let tuned = match &spec.tune.adapter {
        None if tunes => {
            // The weights of the policy, which differ from those of the base after the first step.
            let copy = weights.least.saturating_mul(1 + optimizer_states(spec));
            // A step of several epochs keeps a copy to return to.
            if spec.tune.epochs > 1 { 2 * copy } else { copy }
        }
        _ => 0,
    };
    let of_group = memory_limit().map(|(bytes, _)| bytes);
    let of_system = system_memory().map(|(_, available)| available.saturating_add(loaded));
    let available = [of_group, of_system].into_iter().flatten().min();
    let working = sampling.max(gradient).saturating_sub(loaded);
    Some(MemoryNeed { loaded, tuned, working, samples, available })
}

/// The largest memory of work on `count` samples, given that of smaller numbers: a line through the last two.
fn at(peaks: &[(usize, u64)], loaded: u64, count: usize) -> u64 {
    let Some(&(last, peak)) = peaks.last() else { return loaded };
    if count <= last {
        return peak;
    }
    let smaller = peaks.iter().rev().find(|(before, _)| *before < last);
    let (before, lower) = smaller.copied().unwrap_or((0, loaded));
    let slope = peak.saturating_sub(lower) as f64 / (last - before) as f64;
    peak + (slope * (count - last) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_along_a_line_beyond_what_was_tried() {
        assert_eq!(at(&[], 70, 100), 70);
        assert_eq!(at(&[(8, 110)], 70, 16), 150);
        assert_eq!(at(&[(8, 110), (32, 134)], 70, 132), 234);
        assert_eq!(at(&[(8, 110), (32, 134)], 70, 20), 134);
        assert_eq!(at(&[(8, 110), (32, 134), (32, 134)], 70, 132), 234);
        assert_eq!(at(&[(8, 134), (32, 130)], 70, 132), 130);
    }
}
