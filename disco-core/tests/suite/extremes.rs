//! Weights, logarithms and means at the ends of `f64`: infinite, huge, subnormal.

use disco_core::{Error, Estimate, ImportanceAccumulator, ImportanceWeights};

use crate::weights::close;

#[test]
fn the_heaviest_tails_have_an_infinite_shape() {
    let tail = |log_weights: Vec<f64>| ImportanceWeights::from_log(log_weights).unwrap().pareto_tail();
    let is_endless = |log_weights: Vec<f64>| {
        let tail = tail(log_weights).unwrap();
        assert!(!tail.is_reliable());
        tail.k == f64::INFINITY
    };
    // One to four weights beside which all others are zero in f64.
    for few in 1..5 {
        assert!(is_endless((0..1000).map(|i| if i < few { 0.0 } else { -800.0 }).collect()));
        assert!(is_endless((0..1000).map(|i| if i < few { 0.0 } else { -1e16 - f64::from(i) }).collect()));
    }
    // Log-weights with a standard deviation of thousands.
    let spread =
        |scale: f64| (0..1000).map(|i| scale * (f64::from(i) * 0.7).sin() * f64::from(i % 17)).collect();
    assert!(is_endless(spread(1e5)) && is_endless(spread(1e12)));
    assert!(tail(spread(10.0)).unwrap().k > 5.0);
    // Among weights of zero: one that is not, and several that differ.
    let among_zeros = |few: &[f64]| {
        let mut log_weights = vec![f64::NEG_INFINITY; 1000];
        log_weights[..few.len()].copy_from_slice(few);
        log_weights
    };
    assert!(is_endless(among_zeros(&[0.0])) && is_endless(among_zeros(&[0.0, -1.0, -2.0])));
    // Ratios over few outcomes are bounded.
    assert_eq!(tail(among_zeros(&[0.0; 4])), None);
    assert_eq!(tail((0..1000).map(|i| if i < 2 { 2.0 } else { 1.0 }).collect()), None);
}

#[test]
fn logarithms_of_sums_take_infinite_terms() {
    use disco_core::numerics::{log_1m_exp, log_add_exp, log_ratio, log_softmax, log_sum_exp, softplus};
    let infinite = f64::INFINITY;
    for (a, b, expected) in [
        (infinite, infinite, infinite),
        (infinite, -infinite, infinite),
        (infinite, 1e308, infinite),
        (-infinite, -infinite, -infinite),
        (-infinite, -3.0, -3.0),
        (1e300, 1e300, 1e300),
        (f64::MAX, f64::MIN, f64::MAX),
        (0.0, 0.0, 2f64.ln()),
    ] {
        assert_eq!([log_add_exp(a, b), log_add_exp(b, a), log_sum_exp(&[a, b])], [expected; 3], "{a} {b}");
    }
    for other in [0.0, infinite, -infinite, f64::NAN] {
        assert!(log_add_exp(other, f64::NAN).is_nan() && log_add_exp(f64::NAN, other).is_nan());
        assert!(log_sum_exp(&[other, f64::NAN]).is_nan() && log_sum_exp(&[f64::NAN, other]).is_nan());
    }
    assert_eq!(log_sum_exp(&[]), -infinite);
    assert_eq!([log_1m_exp(0.0), log_1m_exp(-infinite), log_1m_exp(-1e300)], [-infinite, 0.0, 0.0]);
    assert!(log_1m_exp(0.1).is_nan());
    assert_eq!([softplus(infinite), softplus(-infinite), softplus(1e300)], [infinite, 0.0, 1e300]);
    assert_eq!([log_ratio(f64::MAX, f64::MIN), log_ratio(f64::MIN, 1e300)], [f64::MAX, f64::MIN]);
    assert_eq!([log_ratio(-infinite, 1e300), log_ratio(0.0, -infinite)], [-infinite, infinite]);
    assert_eq!(log_softmax(&[f64::MIN, f64::MAX, -infinite]), [f64::MIN, 0.0, -infinite]);
    assert_eq!(log_softmax(&[1e16, 1e16 + 2.0])[0], -2.0 - (-2f64).exp().ln_1p());
    assert!(log_softmax(&[-infinite; 2]).iter().all(|value| value.is_nan()));
}

#[test]
fn means_of_equally_weighted_values_neither_over_nor_underflow() {
    let mean = |values: &[f64]| {
        let Estimate { value, std_error, .. } = Estimate::mean(values);
        (value, std_error)
    };
    assert_eq!(mean(&[1e308, 1e308, 1e308, 1e308]), (1e308, 0.0));
    let (value, error) = mean(&[1e200, 3e200]);
    assert!(value == 2e200 && (error / 1e200 - 1.0).abs() < 1e-15);
    let (value, error) = mean(&[1e-200, 3e-200]);
    assert!((value / 2e-200 - 1.0).abs() < 1e-15 && (error / 1e-200 - 1.0).abs() < 1e-15);
    assert_eq!(mean(&[f64::INFINITY, 1.0]), (f64::INFINITY, f64::INFINITY));
    assert_eq!(mean(&[f64::NEG_INFINITY; 2]), (f64::NEG_INFINITY, f64::INFINITY));
    assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).0.is_nan() && mean(&[1.0, f64::NAN]).0.is_nan());
    assert_eq!(mean(&[2.0; 5]), (2.0, 0.0));
}

#[test]
fn the_scorer_that_gave_no_number_is_named() {
    let refused = |target: f64, proposal: f64| {
        ImportanceWeights::new(&[0.0, target], &[0.0, proposal]).unwrap_err().to_string()
    };
    assert_eq!(refused(f64::NAN, 0.0), "target gave NaN for sample 1");
    assert_eq!(refused(0.0, f64::NAN), "proposal gave NaN for sample 1");
    // It would have given the sample a weight of zero.
    assert_eq!(refused(0.0, f64::INFINITY), "proposal gave inf for sample 1");
    let (fine, infinite) = ([-1.0, -1.0], [-1.0, f64::INFINITY]);
    let balanced = ImportanceWeights::balanced(&[0.0; 2], &[&fine, &infinite], &[1, 1]);
    assert_eq!(balanced.unwrap_err().to_string(), "proposal 1 gave inf for sample 1");
    assert!(ImportanceWeights::balanced(&[0.0; 2], &[&fine, &infinite], &[2, 0]).is_ok());
    let unknown = Estimate { value: f64::NEG_INFINITY, std_error: f64::INFINITY, ess: 1.0 };
    assert_eq!(unknown.interval(2.0), (f64::NEG_INFINITY, f64::INFINITY));
}

#[test]
fn a_soft_constraint_weighs_as_a_hard_one() {
    for penalty in [-1e16, -1e30, f64::MIN] {
        let soft = ImportanceWeights::new(&[0.0, 1.0, penalty], &[-1.0, -0.5, -2.0]).unwrap();
        let hard = ImportanceWeights::new(&[0.0, 1.0, f64::NEG_INFINITY], &[-1.0, -0.5, -2.0]).unwrap();
        assert_eq!((soft.normalised(), soft.log_z()), (hard.normalised(), hard.log_z()));
        let values = [1.0, 2.0, f64::NAN];
        assert_eq!(soft.mean(&values).unwrap(), hard.mean(&values).unwrap());
    }
    // Further apart than f64 reaches.
    let weights = ImportanceWeights::new(&[f64::MIN, 0.0], &[1e300, 0.0]).unwrap();
    assert_eq!(weights.log_weights(), [f64::MIN, 0.0]);
}

#[test]
fn errors_of_weighted_means_neither_over_nor_underflow() {
    // Equal weights: the errors of `Estimate::mean`.
    let weights = ImportanceWeights::from_log(vec![0.0; 2]).unwrap();
    for unit in [1e-200, 1e-300, 1e200, 1e300] {
        for estimate in
            [weights.mean(&[unit, 3.0 * unit]).unwrap(), weights.plain_mean(&[unit, 3.0 * unit]).unwrap()]
        {
            close(estimate.value / unit, 2.0, 1e-14);
            close(estimate.std_error / unit, 1.0, 1e-14);
        }
    }
}

#[test]
fn means_beyond_f64_are_errors() {
    let mut accumulator = ImportanceAccumulator::new(1);
    accumulator.add(0.0, &[1.7e308]).unwrap();
    accumulator.add(0.0, &[-1.7e308]).unwrap();
    let error = accumulator.mean(0).unwrap_err();
    assert!(matches!(&error, Error::Invalid { field, .. } if field == "mean of quantity 0"), "{error}");
    // Squares that overflow leave a mean without a known error.
    let mut accumulator = ImportanceAccumulator::new(1);
    accumulator.add(0.0, &[1e200]).unwrap();
    accumulator.add(0.0, &[3e200]).unwrap();
    let mean = accumulator.mean(0).unwrap();
    assert_eq!((mean.value, mean.std_error), (2e200, f64::INFINITY));
}

#[test]
fn the_tail_of_weights_that_nearly_vanish_has_a_shape() {
    // Excesses of 1e-320 of the largest weight, whose inverse overflows, and three large ones.
    let mut log_weights: Vec<f64> = (0..100).map(|i| -735.0 + 0.01 * f64::from(i)).collect();
    log_weights.extend([-1.0, 0.0, -2.0]);
    let tail = ImportanceWeights::from_log(log_weights).unwrap().pareto_tail().unwrap();
    assert!(tail.k.is_finite() && tail.k > 1.0 && !tail.is_reliable(), "{tail:?}");
}
