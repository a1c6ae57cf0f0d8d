//! Any small problem, against enumeration.

use std::sync::Arc;

use disco_core::feature;
use disco_ebm::{Constraint, FitConfig, Measured, features};
use proptest::prelude::*;

use crate::worlds::{base, bit, log_base, mean, moment, space, value, values};

/// A moment that was asked for is missed by no more.
const MISSED: f64 = 1e-7;

/// A mean that some tilt of the base has: within reach, with the others that are made from the same tilt.
fn within_reach(seed: u64, outcomes: usize, context: usize, tilt: &[f64], of: impl Fn(usize) -> f64) -> f64 {
    let tilted: Vec<f64> = log_base(seed, outcomes, context)
        .iter()
        .enumerate()
        .map(|(x, a)| a + tilt.iter().enumerate().map(|(k, t)| t * value(k as u64, context, x)).sum::<f64>())
        .collect();
    mean(&tilted, of)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Shared moments, moments per context and a reward together: all are as asked, in every context, by sums over the space.
    #[test]
    fn every_moment_is_as_asked(
        seed in 0u64..1000,
        outcomes in 8usize..24,
        contexts in 1usize..5,
        tilts in prop::collection::vec(-1.5..1.5f64, 4 * 3),
        beta in 0.3..5.0f64,
    ) {
        let tilt_of = |context: usize| &tilts[3 * (context % 4)..3 * (context % 4) + 3];
        let mean_of = |context: usize, k: u64| within_reach(seed, outcomes, context, tilt_of(context), |x| value(k, context, x));
        let shared: f64 = (0..contexts).map(|context| mean_of(context, 0)).sum::<f64>() / contexts as f64;
        let own: Vec<Vec<f64>> = (1..3).map(|k| (0..contexts).map(|context| mean_of(context, k)).collect()).collect();
        let constraints = [
            moment(values(0), shared),
            moment(values(1), 0.0).with_targets(own[0].clone()).expect("finite"),
            moment(values(2), 0.0).with_targets(own[1].clone()).expect("finite"),
            Constraint::reward(values(7), beta).expect("positive"),
        ];
        let measured = Measured::exact(&base(seed, outcomes), &space(outcomes), (0..contexts).collect(), &features(&constraints)).expect("measured");
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("within reach");
        let target = fit.target(base(seed, outcomes));
        let mut over_contexts = 0.0;
        for (context, own) in (0..contexts).map(|context| (context, [own[0][context], own[1][context]])) {
            let p = space(outcomes).log_scores(&target, &context).expect("scores");
            over_contexts += mean(&p, |x| value(0, context, x)) / contexts as f64;
            for k in 1..3 {
                let achieved = mean(&p, |x| value(k as u64, context, x));
                prop_assert!((achieved - own[k - 1]).abs() < MISSED, "{} {}", achieved, own[k - 1]);
            }
            // The scores are of the form that the theorem gives: linear in the features.
            let coefficients = fit.tilt().coefficients_in(&context).expect("fitted");
            for (x, score) in p.iter().enumerate() {
                let factor: f64 = [0, 1, 2].iter().map(|&k| coefficients[k].expect("a mean") * value(k as u64, context, x)).sum();
                let expected = log_base(seed, outcomes, context)[x] + factor + value(7, context, x) / beta;
                prop_assert!((score - expected).abs() < 1e-9 * (1.0 + expected.abs()));
            }
        }
        prop_assert!((over_contexts - shared).abs() < MISSED);
    }

    /// Conditional means, shared and per context.
    #[test]
    fn conditional_means_are_as_asked(
        seed in 0u64..1000,
        outcomes in 10usize..24,
        tilts in prop::collection::vec(-1.0..1.0f64, 2),
        each in any::<bool>(),
    ) {
        let holds = |x: usize| bit(3, x);
        let among = |context: usize| (0..outcomes).filter(|x| holds(*x) == 1.0).map(|x| value(1, context, x)).collect::<Vec<_>>();
        prop_assume!(among(0).len() >= 3 && among(0).len() + 2 <= outcomes);
        let ratio = |context: usize| {
            within_reach(seed, outcomes, context, &tilts, |x| holds(x) * value(1, context, x))
                / within_reach(seed, outcomes, context, &tilts, holds)
        };
        let g = Arc::new(feature("g", move |_: &usize, x: &usize| bit(3, *x)));
        let target = ratio(0);
        let conditional = moment(values(1), target).given(g).expect("a mean");
        let conditional = if each { conditional.with_targets(vec![ratio(0), ratio(1)]).expect("finite") } else { conditional };
        let constraints = [conditional];
        let contexts = if each { vec![0, 1] } else { vec![0] };
        let measured = Measured::exact(&base(seed, outcomes), &space(outcomes), contexts.clone(), &features(&constraints)).expect("measured");
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("within reach");
        for context in contexts {
            let p = space(outcomes).log_scores(&fit.target(base(seed, outcomes)), &context).expect("scores");
            let found = mean(&p, |x| holds(x) * value(1, context, x)) / mean(&p, holds);
            prop_assert!((found - ratio(context)).abs() < MISSED);
        }
    }
}
