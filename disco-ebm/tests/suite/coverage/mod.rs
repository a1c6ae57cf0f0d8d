//! Counts of intervals that cover.

use disco_core::Estimate;

pub(crate) const REPETITIONS: usize = 1000;

/// How what is counted of a skewed moment begins.
pub(crate) const SKEWED: &str = "skewed moment";

/// How often intervals cover the truth.
#[derive(Default)]
pub(crate) struct Coverage(pub(crate) Vec<(String, usize)>);

impl Coverage {
    pub(crate) fn count(&mut self, what: String, estimate: Estimate, truth: f64) {
        self.count_interval(what, estimate.interval(1.96), truth);
    }

    pub(crate) fn count_interval(&mut self, what: String, (low, high): (f64, f64), truth: f64) {
        let covered = usize::from(low <= truth && truth <= high);
        match self.0.iter_mut().find(|(found, _)| *found == what) {
            Some((_, count)) => *count += covered,
            None => self.0.push((what, covered)),
        }
    }

    /// Counts in all repetitions, on two threads.
    pub(crate) fn repeated(count: impl Fn(&mut Self, u64) + Sync) -> Self {
        let part = |first: u64| {
            let mut coverage = Self::default();
            (first..REPETITIONS as u64).step_by(2).for_each(|seed| count(&mut coverage, seed));
            coverage
        };
        let (mut all, other) = std::thread::scope(|scope| {
            let odd = scope.spawn(|| part(1));
            (part(0), odd.join().expect("no panic"))
        });
        for ((what, count), (other, more)) in all.0.iter_mut().zip(other.0) {
            assert_eq!(*what, other);
            *count += more;
        }
        all
    }

    #[track_caller]
    pub(crate) fn check(&self) {
        let (least, most) = (92 * REPETITIONS / 100, 98 * REPETITIONS / 100);
        // A skewed moment rests on the number of a few rare samples, which is discrete: what is corrected for it may
        // cover more, but not less.
        let is_wrong =
            |(what, count): &&(String, usize)| *count < least || *count > most && !what.starts_with(SKEWED);
        let wrong: Vec<_> = self.0.iter().filter(is_wrong).collect();
        assert!(wrong.is_empty(), "of {REPETITIONS}: {wrong:?}");
    }
}
