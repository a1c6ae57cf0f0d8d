//! Exact enumeration, limits, value stability and bad input of the estimators.

use disco_divergence::{Divergence, Error, Estimator, FDivergence, LogZ, Renyi, Scored, TwoSamples, exact};

const NEVER: f64 = f64::NEG_INFINITY;

fn logs<const N: usize>(probabilities: [f64; N]) -> [f64; N] {
    probabilities.map(f64::ln)
}

#[test]
fn samples_in_proportion_give_the_exact_value() {
    // Four outcomes drawn 1, 2, 3 and 4 times from q = (.1, .2, .3, .4): the empirical distribution is q.
    let (p, pi, q) = (logs([0.4, 0.3, 0.2, 0.1]), logs([0.25, 0.15, 0.35, 0.25]), logs([0.1, 0.2, 0.3, 0.4]));
    let positions: Vec<usize> = (0..4).flat_map(|i| vec![i; i + 1]).collect();
    let take =
        |values: &[f64], shift: f64| -> Vec<f64> { positions.iter().map(|&i| values[i] + shift).collect() };
    let (target, policy, proposal) = (take(&p, 700.0), take(&pi, 0.0), take(&q, 0.0));
    let estimator = Estimator::new(&target, &policy, &proposal).unwrap();
    let found = estimator.estimate(&FDivergence::NAMED).unwrap();
    for (divergence, found) in FDivergence::NAMED.iter().zip(&found.divergences) {
        let expected = exact(divergence, &p, &pi).unwrap();
        assert!((found.estimate.value - expected).abs() < 1e-12, "{divergence}: {found:?} {expected}");
        assert!(found.estimate.std_error > 0.0 && found.estimate.std_error < 1.0);
        assert!(found.estimate.ess >= 1.0 && found.estimate.ess <= 10.0);
        assert!(found.largest_share >= 0.1 && found.largest_share < 1.0);
    }
    assert!((found.target_log_z.value - 700.0).abs() < 1e-10);
    assert!((found.target_mass.value - 1.0).abs() < 1e-10 && (found.policy_mass.value - 1.0).abs() < 1e-12);
    assert_eq!(found.policy_mass_outside.value, 0.0);
}

#[test]
fn equal_distributions_have_no_divergence() {
    let p = logs([0.4, 0.3, 0.2, 0.1]);
    let found = Estimator::new(&p, &p, &p).unwrap().estimate(&FDivergence::NAMED).unwrap();
    for found in found.divergences {
        assert_eq!((found.estimate.value, found.estimate.std_error, found.estimate.ess), (0.0, 0.0, 4.0));
        assert_eq!(found.largest_share, 0.25);
    }
}

#[test]
fn where_the_target_is_zero_the_limit_counts() {
    let (p, pi) = ([0.5f64.ln(), 0.5f64.ln(), NEVER], logs([0.4, 0.4, 0.2]));
    let at = |name: &str| exact(&name.parse::<FDivergence>().unwrap(), &p, &pi).unwrap();
    assert!((at("tv") - 0.2).abs() < 1e-15);
    assert!((at("forward-kl") - 1.25f64.ln()).abs() < 1e-15);
    let m = [0.45f64, 0.45, 0.1];
    let js: f64 = (0..3)
        .map(|i| {
            let [p, pi] = [p[i], pi[i]].map(f64::exp);
            let term = |x: f64| if x > 0.0 { 0.5 * x * (x / m[i]).ln() } else { 0.0 };
            term(p) + term(pi)
        })
        .sum();
    assert!((at("js") - js).abs() < 1e-15);
    for name in ["reverse-kl", "chi2-reverse", "jeffreys", "alpha:1", "alpha:2"] {
        assert_eq!(at(name), f64::INFINITY, "{name}");
    }
    // Samples of pi: the third one proves it.
    let found = Estimator::new(&p, &pi, &pi).unwrap().estimate(&FDivergence::NAMED).unwrap();
    for (divergence, found) in FDivergence::NAMED.iter().zip(found.divergences) {
        let finite = divergence.derivative_at_infinity().is_finite();
        assert_eq!(found.estimate.value.is_finite(), finite, "{divergence}");
        assert!(!found.estimate.std_error.is_nan() && found.estimate.std_error >= 0.0);
    }
    assert!((found.policy_mass_outside.value - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn where_the_policy_is_zero_f_of_zero_counts() {
    let (p, pi) = (logs([0.4, 0.4, 0.2]), [0.5f64.ln(), 0.5f64.ln(), NEVER]);
    let at = |name: &str| exact(&name.parse::<FDivergence>().unwrap(), &p, &pi).unwrap();
    assert!((at("tv") - 0.2).abs() < 1e-15);
    assert!((at("reverse-kl") - 1.25f64.ln()).abs() < 1e-15);
    assert!((at("chi2-reverse") - 0.25).abs() < 1e-15);
    for name in ["forward-kl", "chi2-forward", "jeffreys", "alpha:0", "alpha:-1"] {
        assert_eq!(at(name), f64::INFINITY, "{name}");
    }
}

#[test]
fn extreme_ratios_give_numbers() {
    // Ratios of e^700 either way, where a factor alone leaves f64.
    let (p, pi) = ([0.0, -700.0], [-700.0, 0.0]);
    for name in
        ["forward-kl", "reverse-kl", "jeffreys", "js", "tv", "hellinger", "alpha:0.5", "skewed-js:0.1"]
    {
        let divergence: FDivergence = name.parse().unwrap();
        let value = exact(&divergence, &p, &pi).unwrap();
        assert!(value.is_finite(), "{name}: {value}");
    }
    assert!((exact(&FDivergence::KlForward, &p, &pi).unwrap() - 700.0).abs() < 1e-9);
    // 1 * e^(2 * 700) / e^700 is representable although (pi/p)^2 is not.
    let chi2 = exact(&FDivergence::ChiSquaredReverse, &p, &pi).unwrap();
    assert!((chi2.ln() - 700.0).abs() < 1e-9, "{chi2}");
    let [target, policy] = [p, pi];
    for divergence in FDivergence::NAMED {
        let found =
            Estimator::new(&target, &policy, &[0.5f64.ln(); 2]).unwrap().estimate(&[divergence]).unwrap();
        let estimate = found.divergences[0].estimate;
        assert!(
            !estimate.value.is_nan() && !estimate.std_error.is_nan() && !estimate.ess.is_nan(),
            "{estimate:?}"
        );
    }
}

#[test]
fn one_sample_has_no_error_to_show() {
    let found = Estimator::new(&[0.5], &[-1.0], &[-1.0]).unwrap().target_log_z(LogZ::Known(0.0)).unwrap();
    let estimate = found.estimate(&[FDivergence::KlForward]).unwrap().divergences[0].estimate;
    assert_eq!(estimate.std_error, f64::INFINITY);
}

#[test]
fn a_truncated_proposal_shows_in_the_mass() {
    let (p, pi) = (logs([0.4, 0.4, 0.2]), logs([0.3, 0.3, 0.4]));
    // q draws the first two outcomes only.
    let half = [0.5f64.ln(); 2];
    let found = Estimator::new(&p[..2], &pi[..2], &half).unwrap().target_log_z(LogZ::Known(0.0)).unwrap();
    let found = found.estimate(&[FDivergence::TotalVariation]).unwrap();
    assert!((found.target_mass.value - 0.8).abs() < 1e-12 && (found.policy_mass.value - 0.6).abs() < 1e-12);
}

#[test]
fn disjoint_samples_are_compared() {
    let target = Scored { log_target: &[0.0, 0.0], log_policy: &[NEVER, NEVER] };
    let policy = Scored { log_target: &[NEVER], log_policy: &[0.0] };
    let samples = TwoSamples::new(target, policy).unwrap();
    let found = samples.estimate(&[FDivergence::TotalVariation, FDivergence::KlForward]).unwrap();
    assert!((found.divergences[0].estimate.value - 1.0).abs() < 1e-15);
    assert_eq!(found.divergences[1].estimate.value, f64::INFINITY);
    let error = samples.log_ratio_z(LogZ::Estimated).unwrap().estimate(&[FDivergence::TotalVariation]);
    assert!(matches!(error, Err(Error::NoOverlap)));
}

#[test]
fn bennett_solves_far_from_zero() {
    for shift in [-5_000.0, -30.0, 0.0, 30.0, 5_000.0] {
        let p = [0.6f64.ln() + shift, 0.4f64.ln() + shift];
        let pi = logs([0.3, 0.7]);
        // Samples in exact proportion: 6 and 4 of p, 3 and 7 of pi.
        let take = |values: &[f64; 2], first: usize| -> Vec<f64> {
            (0..10).map(|i| values[usize::from(i >= first)]).collect()
        };
        let columns = [(take(&p, 6), take(&pi, 6)), (take(&p, 3), take(&pi, 3))];
        let [target, policy] =
            [0, 1].map(|i: usize| Scored { log_target: &columns[i].0, log_policy: &columns[i].1 });
        let samples = TwoSamples::new(target, policy).unwrap().log_ratio_z(LogZ::Estimated).unwrap();
        let found = samples.estimate(&[FDivergence::TotalVariation]).unwrap();
        assert!((found.log_ratio_z.value - shift).abs() < 1e-9 * (1.0 + shift.abs()), "{shift} {found:?}");
        assert!((found.divergences[0].estimate.value - 0.3).abs() < 1e-8);
    }
}

#[test]
fn renyi_has_its_limits() {
    let renyi = Renyi::new(0.5).unwrap();
    assert_eq!(renyi.from_alpha(0.0).unwrap(), 0.0);
    // Disjoint supports have the largest alpha divergence, 1 / (a (1 - a)) = 4.
    assert_eq!(renyi.from_alpha(4.0).unwrap(), f64::INFINITY);
    assert!(renyi.from_alpha(4.1).unwrap_err().to_string().contains("alpha divergence of order 0.5 is 4.1"));
    assert!(renyi.from_alpha(-0.1).is_err() && renyi.from_alpha(f64::NAN).is_err());
    assert_eq!(Renyi::new(2.0).unwrap().from_alpha(f64::INFINITY).unwrap(), f64::INFINITY);
    assert_eq!(Renyi::new(1.0).unwrap().from_alpha(f64::INFINITY).unwrap(), f64::INFINITY);
    for order in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Renyi::new(order).unwrap_err().to_string().contains("order of a Renyi divergence"));
    }
}

#[track_caller]
fn refused(target: &[f64], policy: &[f64], proposal: &[f64], says: &str) {
    let message = Estimator::new(target, policy, proposal).unwrap_err().to_string();
    assert!(message.contains(says), "{message}");
}

#[test]
fn bad_input_is_refused() {
    refused(&[], &[], &[], "samples to compare distributions with is empty");
    refused(&[0.0], &[0.0, 0.0], &[0.0], "policy log-probabilities: expected 1 values, got 2");
    refused(&[0.0], &[0.0], &[], "proposal log-probabilities: expected 1 values, got 0");
    refused(&[0.0, f64::NAN], &[0.0; 2], &[0.0; 2], "target gave NaN for sample 1");
    refused(&[0.0; 2], &[f64::INFINITY, 0.0], &[0.0; 2], "policy gave inf for sample 0");
    refused(&[0.0; 2], &[0.0; 2], &[0.0, NEVER], "sample 1 under the proposal that drew it is -inf");
    refused(&[NEVER; 2], &[0.0; 2], &[0.0; 2], "all 2 importance weights are zero");
    refused(&[0.0; 2], &[NEVER; 2], &[0.0; 2], "all 2 importance weights are zero");
    let estimator = Estimator::new(&[0.0], &[0.0], &[0.0]).unwrap();
    let error = estimator.clone().target_log_z(LogZ::Known(f64::NAN)).unwrap_err();
    assert!(error.to_string().contains("ln Z of the target is NaN"));
    assert!(estimator.policy_log_z(LogZ::Known(f64::INFINITY)).is_err());
    let far = Estimator::new(&[0.0], &[0.0], &[0.0]).unwrap().target_log_z(LogZ::Known(-800.0)).unwrap();
    let error = far.estimate(&[FDivergence::KlForward]).unwrap_err().to_string();
    assert!(error.contains("ln of target / proposal at sample 0 is 800"), "{error}");
    let (good, bad) = (Scored { log_target: &[0.0], log_policy: &[0.0] }, [NEVER]);
    for bad in [
        Scored { log_target: &bad, log_policy: &[0.0] },
        Scored { log_target: &[], log_policy: &[] },
        Scored { log_target: &[0.0], log_policy: &[] },
        Scored { log_target: &[0.0], log_policy: &[f64::NAN] },
    ] {
        assert!(TwoSamples::new(bad, good).is_err(), "{bad:?}");
    }
    assert!(exact(&FDivergence::KlForward, &[], &[]).is_err());
    assert!(exact(&FDivergence::KlForward, &[0.0], &[NEVER]).is_err());
    assert!(exact(&FDivergence::KlForward, &[0.0, f64::NAN], &[0.0; 2]).is_err());
}

#[test]
fn a_divergence_that_gives_nan_is_named() {
    #[derive(Debug)]
    struct Nan;
    impl Divergence for Nan {
        fn name(&self) -> std::borrow::Cow<'static, str> {
            "nan".into()
        }
        fn generator(&self, _: f64) -> f64 {
            f64::NAN
        }
        fn derivative(&self, l: f64) -> f64 {
            l
        }
        fn derivative_at_infinity(&self) -> f64 {
            f64::INFINITY
        }
    }
    let error = Estimator::new(&[0.0], &[0.0], &[0.0]).unwrap().estimate(&[Nan]).unwrap_err();
    assert_eq!(error.to_string(), "generator of `nan` gave NaN for sample 0");
}

#[test]
fn values_do_not_change() {
    let (p, pi, q) = ([0.3, -1.2, 0.8, -0.1], logs([0.1, 0.2, 0.3, 0.4]), logs([0.4, 0.3, 0.2, 0.1]));
    let found = Estimator::new(&p, &pi, &q).unwrap().estimate(&[FDivergence::JensenShannon]).unwrap();
    let estimate = found.divergences[0].estimate;
    let expected = [0.10516811040979132, 0.08270427602022927, 1.7835085230216052];
    for (found, expected) in [estimate.value, estimate.std_error, estimate.ess].into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{estimate:?}");
    }
}

#[test]
fn infinite_divergences_come_back_from_json() {
    // The policy leaves the support of the target, which reverse KL does not forgive.
    let (target, policy) = ([0.0, f64::NEG_INFINITY], [0.5f64.ln(); 2]);
    let estimator = Estimator::new(&target, &policy, &policy).unwrap();
    let found = estimator.estimate(&[FDivergence::KlReverse, FDivergence::TotalVariation]).unwrap();
    assert_eq!(found.divergences[0].estimate.value, f64::INFINITY);
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<disco_divergence::Comparison>(&text).unwrap(), found);
    let known = Estimator::new(&target, &policy, &policy).unwrap().target_log_z(LogZ::Known(0.0)).unwrap();
    let found = known.estimate(&[FDivergence::KlReverse]).unwrap();
    let text = serde_json::to_string(&found).unwrap();
    assert_eq!(serde_json::from_str::<disco_divergence::Comparison>(&text).unwrap(), found);
}

#[test]
fn renyi_divergences_are_exact_where_alpha_divergences_overflow() {
    // p = (1 - e^-700, e^-700), pi = (1/2, 1/2): l = 699.3 at the second outcome.
    let (p, pi) = ([0.0, -700.0], [0.5f64.ln(); 2]);
    let renyi = |order: f64| Renyi::new(order).unwrap();
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-12 * expected.abs(), "{found} {expected}");
    };
    // sum p^(1-a) pi^a is 2^-a (1 + e^(700 (a - 1))).
    for order in [3.0, 10.0, 100.0f64] {
        assert_eq!(exact(&renyi(order).alpha(), &p, &pi).unwrap(), f64::INFINITY);
        let expected = (700.0 * (order - 1.0) - order * 2f64.ln()) / (order - 1.0);
        close(renyi(order).exact(&p, &pi).unwrap(), expected);
    }
    // The other way round, and below 1: sum pi^(1-a) p^a = 2^(a-1) (1 + e^(-700 a)).
    close(renyi(3.0).exact(&pi, &p).unwrap(), 2f64.ln());
    close(renyi(0.5).exact(&pi, &p).unwrap(), 2f64.ln());
    // Against the alpha divergence where that is an ordinary number, and through order 1.
    let (p, pi) = ([0.1, -0.4, 0.3], [0.2, 0.1, -0.6]);
    for order in [0.2, 0.9, 1.0 - 1e-9, 1.0, 1.0 + 1e-9, 1.3, 4.0] {
        let expected = renyi(order).from_alpha(exact(&renyi(order).alpha(), &p, &pi).unwrap()).unwrap();
        close(renyi(order).exact(&p, &pi).unwrap(), expected);
    }
    let (nearly, one) = (renyi(1.0 - 1e-9).exact(&p, &pi).unwrap(), renyi(1.0).exact(&p, &pi).unwrap());
    assert!((nearly - one).abs() < 1e-8);
    // Supports that differ: infinite for orders of 1 and more, and for all orders where they do not meet.
    let (left, both, right) = ([0.0, f64::NEG_INFINITY], [0.0, 0.0], [f64::NEG_INFINITY, 0.0]);
    assert_eq!(renyi(2.0).exact(&left, &both).unwrap(), f64::INFINITY);
    assert_eq!(renyi(1.0).exact(&left, &both).unwrap(), f64::INFINITY);
    close(renyi(0.5).exact(&left, &both).unwrap(), 2f64.ln());
    close(renyi(2.0).exact(&both, &left).unwrap(), 2f64.ln());
    for order in [0.5, 1.0, 2.0] {
        assert_eq!(renyi(order).exact(&left, &right).unwrap(), f64::INFINITY);
    }
    assert!(renyi(2.0).exact(&[], &[]).is_err() && renyi(2.0).exact(&left, &[0.0]).is_err());
}
