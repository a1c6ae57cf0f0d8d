//! Properties that hold for any input.

use disco_core::{
    Condition, Distribution, Estimate, Exponential, Feature, ImportanceAccumulator, ImportanceWeights,
    Product, Scorer, ScorerExt, Space, Streams, Table, feature, numerics, predicate, scorer,
};
use proptest::prelude::*;

/// Sums of the same terms in another order agree to a few units in the last place.
const REORDERED: f64 = 1e-12;

fn close(one: f64, two: f64) -> bool {
    one == two || (one - two).abs() <= REORDERED * (1.0 + one.abs().max(two.abs()))
}

fn alike(one: &Estimate, two: &Estimate) -> bool {
    // A standard error is a root: rounding of 1e-16 in its square shows as 1e-8. One sample has an infinite one.
    let same_error = one.std_error == two.std_error || (one.std_error - two.std_error).abs() < 1e-6;
    close(one.value, two.value) && same_error && close(one.ess, two.ess)
}

/// A log-score: finite, or impossible one time in five.
fn log_score() -> impl Strategy<Value = f64> {
    prop_oneof![4 => -50.0..50.0f64, 1 => Just(f64::NEG_INFINITY)]
}

fn scores(scorer: &impl Scorer<(), usize>, n: usize) -> Vec<f64> {
    Space::new(0..n).unwrap().log_scores(scorer, &()).unwrap()
}

proptest! {
    #[test]
    fn products_commute_and_associate(
        rows in prop::collection::vec((log_score(), log_score(), log_score()), 1..40)
    ) {
        let n = rows.len();
        let a = scorer(|_: &(), x: &usize| rows[*x].0);
        let b = scorer(|_: &(), x: &usize| rows[*x].1);
        let c = scorer(|_: &(), x: &usize| rows[*x].2);
        for (one, two) in [
            (scores(&Product(&a, &b), n), scores(&Product(&b, &a), n)),
            (scores(&Product(Product(&a, &b), &c), n), scores(&Product(&a, Product(&b, &c)), n)),
        ] {
            prop_assert!(one.iter().zip(&two).all(|(one, two)| close(*one, *two)), "{one:?} {two:?}");
        }
    }

    #[test]
    fn powers_distribute_over_products(
        rows in prop::collection::vec((log_score(), log_score()), 1..40), exponent in 0.01..10.0f64
    ) {
        let n = rows.len();
        let a = scorer(|_: &(), x: &usize| rows[*x].0);
        let b = scorer(|_: &(), x: &usize| rows[*x].1);
        let whole = scores(&Product(&a, &b).power(exponent).unwrap(), n);
        let parts = scores(&Product((&a).power(exponent).unwrap(), (&b).power(exponent).unwrap()), n);
        prop_assert!(whole.iter().zip(&parts).all(|(one, two)| close(*one, *two)), "{whole:?} {parts:?}");
    }

    #[test]
    fn a_condition_and_its_opposite_share_out_the_mass(
        log_scores in prop::collection::vec(-50.0..50.0f64, 2..40), remainder in 0..2usize
    ) {
        let space = Space::new(0..log_scores.len()).unwrap();
        let base = scorer(|_: &(), x: &usize| log_scores[*x]);
        let part = predicate("part", |_: &(), x: &usize| x % 2 == remainder);
        let log_z = |wanted| space.log_z(&Product(&base, if wanted { Condition::always(&part) } else { Condition::never(&part) }), &()).unwrap();
        let whole = space.log_z(&base, &()).unwrap();
        prop_assert!(close(numerics::log_add_exp(log_z(true), log_z(false)), whole));
    }

    #[test]
    fn weights_do_not_change_with_a_constant_in_log_p(
        log_weights in prop::collection::vec(log_score(), 2..60), constant in -500.0..500.0f64
    ) {
        prop_assume!(log_weights.iter().any(|log_weight| log_weight.is_finite()));
        let values: Vec<f64> = (0..log_weights.len()).map(|i| (i as f64).sin()).collect();
        let shifted = log_weights.iter().map(|log_weight| log_weight + constant).collect();
        let one = ImportanceWeights::from_log(log_weights).unwrap();
        let two = ImportanceWeights::from_log(shifted).unwrap();
        prop_assert!(alike(&one.mean(&values).unwrap(), &two.mean(&values).unwrap()));
        prop_assert!((one.largest_share() - two.largest_share()).abs() < REORDERED);
        prop_assert!((one.log_z().value + constant - two.log_z().value).abs() < 1e-9);
        prop_assert!((one.log_z().std_error - two.log_z().std_error).abs() < 1e-6);
        prop_assert_eq!(one.pareto_tail().is_some(), two.pareto_tail().is_some());
    }

    #[test]
    fn ess_and_share_stay_in_their_bounds(log_weights in prop::collection::vec(-700.0..700.0f64, 1..60)) {
        let n = log_weights.len() as f64;
        let weights = ImportanceWeights::from_log(log_weights).unwrap();
        prop_assert!(weights.ess() >= 1.0 - REORDERED && weights.ess() <= n * (1.0 + REORDERED));
        prop_assert!(weights.largest_share() <= 1.0 && weights.largest_share() * n >= 1.0 - REORDERED);
        let mean = weights.mean(&vec![3.5; n as usize]).unwrap();
        prop_assert!(close(mean.value, 3.5) && (n < 2.0 || mean.std_error < 1e-12));
    }

    #[test]
    fn accumulators_merge_in_any_grouping(
        samples in prop::collection::vec((log_score(), -100.0..100.0f64, 0..3usize), 1..60)
    ) {
        prop_assume!(samples.iter().any(|(log_weight, ..)| log_weight.is_finite()));
        let mut parts = vec![ImportanceAccumulator::new(1); 3];
        let mut whole = ImportanceAccumulator::new(1);
        for (log_weight, value, part) in &samples {
            whole.add(*log_weight, &[*value]).unwrap();
            parts[*part].add(*log_weight, &[*value]).unwrap();
        }
        let mut left = parts[0].clone();
        left.merge(&parts[1]).unwrap();
        left.merge(&parts[2]).unwrap();
        let mut right = parts[2].clone();
        right.merge(&parts[1]).unwrap();
        right.merge(&parts[0]).unwrap();
        for merged in [left, right] {
            prop_assert_eq!(merged.count(), samples.len());
            prop_assert!(alike(&merged.log_z().unwrap(), &whole.log_z().unwrap()));
            let (mean, expected) = (merged.mean(0).unwrap(), whole.mean(0).unwrap());
            prop_assert!((mean.value - expected.value).abs() < 1e-9 * 100.0);
            prop_assert!(samples.len() < 2 || (mean.std_error - expected.std_error).abs() < 1e-4);
        }
    }

    #[test]
    fn normalising_gives_probabilities_whose_log_z_is_zero(
        log_scores in prop::collection::vec(-700.0..700.0f64, 1..60)
    ) {
        let space = Space::new(0..log_scores.len()).unwrap();
        let table = Table::from_log_scores(space.clone(), log_scores).unwrap();
        prop_assert!(space.log_z(&table, &()).unwrap().abs() < 1e-12);
        prop_assert!((table.probabilities().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn tilting_by_zero_is_nothing_and_by_a_sum_is_twice(
        lambda in -3.0..3.0f64, n in 1..20usize
    ) {
        let phi = feature("phi", |_: &(), x: &usize| (*x as f64).cos());
        let base = Space::new(0..n).unwrap().uniform();
        let tilt = |coefficient| Exponential { feature: &phi, coefficient };
        let nothing = scores(&Product(&base, tilt(0.0)), n);
        prop_assert_eq!(nothing, base.as_log_probs().to_vec());
        let twice = scores(&Product(&base, Product(tilt(lambda), tilt(lambda))), n);
        let once = scores(&Product(&base, tilt(2.0 * lambda)), n);
        prop_assert!(twice.iter().zip(&once).all(|(one, two)| close(*one, *two)));
        // d log Z / d lambda is the moment: central differences, whose error is of order h^2.
        let log_z = |lambda| base.space().log_z(&Product(&base, tilt(lambda)), &()).unwrap();
        let h = 1e-5;
        let slope = (log_z(lambda + h) - log_z(lambda - h)) / (2.0 * h);
        let tilted = base.space().normalise(&Product(&base, tilt(lambda)), &()).unwrap();
        let moments = tilted.moments::<(), &dyn Feature<(), usize>>(&[&phi], &()).unwrap();
        prop_assert!((slope - moments[0]).abs() < 1e-8, "{} {}", slope, moments[0]);
    }

    #[test]
    fn any_cut_of_the_streams_gives_the_same_samples(
        key in any::<u64>(), cut in 0..=50usize, size in 1..60usize
    ) {
        let table = Space::new(0..9).unwrap().uniform();
        let streams = Streams::new(key, 50);
        let whole = table.sample(&(), &streams).unwrap();
        let (left, right) = streams.split_at(cut);
        let halves = [table.sample(&(), &left).unwrap(), table.sample(&(), &right).unwrap()].concat();
        prop_assert_eq!(&halves, &whole);
        let chunks: Vec<_> = streams.chunks(size).flat_map(|c| table.sample(&(), &c).unwrap()).collect();
        prop_assert_eq!(&chunks, &whole);
    }

    #[test]
    fn log_sums_agree_with_linear_ones(terms in prop::collection::vec(-30.0..30.0f64, 1..40)) {
        let linear = terms.iter().map(|term| term.exp()).sum::<f64>().ln();
        prop_assert!(close(numerics::log_sum_exp(&terms), linear));
        let pairwise = terms.iter().copied().fold(f64::NEG_INFINITY, numerics::log_add_exp);
        prop_assert!(close(pairwise, linear));
    }
}

#[test]
fn a_nan_among_log_scores_is_never_lost() {
    for terms in
        [&[f64::NAN][..], &[0.0, f64::NAN], &[f64::NEG_INFINITY, f64::NAN], &[f64::INFINITY, f64::NAN]]
    {
        assert!(numerics::log_sum_exp(terms).is_nan(), "{terms:?}");
    }
    assert_eq!(numerics::log_sum_exp(&[]), f64::NEG_INFINITY);
    assert_eq!(numerics::log_sum_exp(&[f64::NEG_INFINITY; 2]), f64::NEG_INFINITY);
}
