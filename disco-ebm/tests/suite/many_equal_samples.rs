//! Fits from a million samples of 64 outcomes: the dual is a sum of equal terms, which are all rounded the same way.

use disco_core::{Space, StreamRng, Table, predicate};
use disco_ebm::{Constraint, FitConfig, Measured, features};
use rand::{RngExt, SeedableRng};

#[test]
fn newton_goes_on_where_values_are_rounded_off() {
    // Two of the seeds 0 to 59, for which a line search by values alone made 200 steps to no end.
    for seed in [17, 53] {
        let mut rng = StreamRng::seed_from_u64(seed);
        let scores: Vec<f64> = (0..64).map(|_| 2.0 * rng.random::<f64>().ln()).collect();
        let base = Table::from_log_scores(Space::new(0..64).expect("distinct"), scores).expect("scores");
        let constraints: Vec<_> = (0..3)
            .map(|i| {
                let feature = predicate(format!("bit {i}"), move |_: &(), x: &usize| x >> i & 1 == 1);
                Constraint::moment(feature, 0.3 + 0.4 * rng.random::<f64>()).expect("finite")
            })
            .collect();
        let measured =
            Measured::draw(&base, vec![()], &features(&constraints), 1_000_000, &mut rng).expect("measures");
        let config = FitConfig { held_out: 0.0, ..FitConfig::default() };
        let fit = measured.fit(&constraints, &config).expect("fits");
        let report = fit.report();
        assert!(report.termination.is_converged(), "seed {seed}: {:?}", report.termination);
        assert!(report.iterations < 20, "seed {seed}: {}", report.iterations);
    }
}
