//! Diagnostics refuse what they cannot judge, and name it.

use disco_qrs::{Curve, Goal, Point, Ratios, choose_beta};

const NEVER: f64 = f64::NEG_INFINITY;

#[track_caller]
fn refused(log_target: &[f64], log_proposal: &[f64], says: &str) {
    let error = Ratios::new(log_target, log_proposal).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn scores_are_checked() {
    refused(&[], &[], "proposals to judge is empty");
    refused(&[0.0, 1.0], &[0.0], "proposal log-probabilities: expected 2 values, got 1");
    refused(&[0.0, f64::NAN], &[0.0, 0.0], "target gave NaN for sample 1");
    refused(&[f64::INFINITY], &[0.0], "target gave inf for sample 0");
    refused(&[0.0], &[f64::NAN], "proposal gave NaN for sample 0");
    refused(&[NEVER], &[f64::INFINITY], "proposal gave inf for sample 0");
    refused(&[0.0, 0.0], &[0.0, NEVER], "proposal log-probability 1 is -inf; allowed: above -inf");
    refused(&[NEVER, NEVER], &[0.0, NEVER], "proposal log-probability 1 is -inf");
    refused(&[NEVER, NEVER], &[0.0, 0.0], "all 2 importance weights are zero");
    let error = Ratios::exact(&[0.0, 0.0], &[0.0, 0.0]).unwrap_err().to_string();
    assert!(error.contains("sum of the proposal's probabilities is 2"), "{error}");
    let error = Ratios::exact(&[0.0, 0.0], &[0.0, NEVER]).unwrap_err().to_string();
    assert!(error.contains("proposal log-probability 1 is -inf"), "{error}");
    // An outcome that neither has is no harm.
    let ratios = Ratios::exact(&[0.0, NEVER], &[0.0, NEVER]).unwrap();
    assert!((ratios.acceptance_rate(0.0).unwrap().value - 1.0).abs() < 1e-15);
}

#[test]
fn features_are_checked() {
    let ratios = || Ratios::new(&[0.0, NEVER, 0.0], &[0.0; 3]).unwrap();
    let error = ratios().with_feature("f", &[1.0, 2.0]).unwrap_err().to_string();
    assert!(error.contains("values of a feature: expected 3 values, got 2"), "{error}");
    let error = ratios().with_feature("f", &[1.0, 2.0, f64::NAN]).unwrap_err().to_string();
    assert!(error.contains("feature `f` gave NaN for sample 2"), "{error}");
    // Where P = 0, a feature does not matter.
    let ratios = ratios().with_feature("f", &[1.0, f64::NAN, 3.0]).unwrap();
    assert!((ratios.point(0.0).unwrap().features[0].value - 2.0).abs() < 1e-12);
    let error = ratios.with_feature("f", &[1.0; 3]).unwrap_err().to_string();
    assert!(error.contains("name of a feature is f"), "{error}");
}

#[test]
fn betas_and_goals_are_checked() {
    let ratios = Ratios::new(&[0.0, NEVER], &[0.0; 2]).unwrap();
    for beta in [0.0f64, -1.0, f64::NAN, f64::INFINITY] {
        let error = ratios.curve(&[0.0, beta.ln()]).unwrap_err().to_string();
        assert!(error.contains("finite: beta is positive and finite"), "{error}");
        assert!(ratios.acceptance_rate(beta.ln()).is_err());
    }
    let error = ratios.point(701.0).unwrap_err().to_string();
    assert!(error.contains("ln beta is 701; allowed: at most 700"), "{error}");
    assert!(ratios.curve(&[]).unwrap_err().to_string().contains("grid of beta is empty"));
    assert!(ratios.grid(1).unwrap_err().to_string().contains("number of betas in a grid is 1"));
    for rate in [0.0, -0.5, 1.5, f64::NAN] {
        let error = ratios.choose(Goal::AcceptanceRate(rate)).unwrap_err().to_string();
        assert!(error.contains("wanted acceptance rate"), "{error}");
    }
    for tv in [-0.1, 1.1, f64::NAN] {
        let error = ratios.choose(Goal::TotalVariation(tv)).unwrap_err().to_string();
        assert!(error.contains("wanted total variation"), "{error}");
    }
    let error = ratios.choose(Goal::AcceptanceRate(0.6)).unwrap_err().to_string();
    assert_eq!(error, "no beta has an acceptance rate of 0.6: at most 0.5 of the proposals can be accepted");
    assert!(choose_beta(&[], Goal::LargestRatio).unwrap_err().to_string().contains("contexts"));
}

#[test]
fn curves_of_different_grids_are_not_averaged() {
    let ratios = Ratios::new(&[0.0, 1.0], &[0.0; 2]).unwrap();
    let (one, two) = (ratios.curve(&[0.0, 1.0]).unwrap(), ratios.curve(&[0.0]).unwrap());
    assert!(Curve::mean(&[one.clone(), two]).unwrap_err().to_string().contains("betas of each curve"));
    let two = ratios.curve(&[0.0, 2.0]).unwrap();
    assert!(Curve::mean(&[one.clone(), two]).unwrap_err().to_string().contains("ln beta is 2"));
    let two = ratios.clone().with_feature("f", &[0.0; 2]).unwrap().curve(&[0.0, 1.0]).unwrap();
    assert!(Curve::mean(&[one.clone(), two.clone()]).unwrap_err().to_string().contains("features"));
    assert!(Point::mean(&[one.points[0].clone(), two.points[0].clone()]).is_err());
    assert!(Curve::mean(&[]).is_err() && Point::mean(&[]).is_err());
}

#[test]
fn one_proposal_is_judged_without_an_error_to_show() {
    let curve = Ratios::new(&[1.0], &[0.0]).unwrap().curve(&[0.5]).unwrap();
    assert_eq!(curve.points[0].acceptance_rate.value, 1.0);
    assert_eq!(curve.points[0].acceptance_rate.std_error, f64::INFINITY);
    assert_eq!(curve.points[0].total_variation.value, 0.0);
    assert!(!curve.points[0].total_variation.std_error.is_nan());
}

#[test]
fn ratios_at_the_ends_of_f64_give_numbers_or_errors() {
    let ends = [-1.7e308, -1e300, -800.0, 0.0, 800.0, 1e300, 1.7e308];
    for (i, low) in ends.iter().enumerate() {
        for high in &ends[i + 1..] {
            let ratios = match Ratios::new(&[*low, *high, *high, NEVER], &[0.0; 4]) {
                Ok(ratios) => ratios,
                Err(error) => {
                    assert!(
                        high.abs() > 1e10 && error.to_string().contains("ln(P/q) of proposal"),
                        "{error}"
                    );
                    continue;
                }
            };
            for log_beta in [*low, *high, 0.5 * low + 0.5 * high] {
                let Ok(point) = ratios.point(log_beta) else { continue };
                for found in [
                    point.acceptance_rate,
                    point.total_variation,
                    point.forward_kl,
                    point.reverse_kl,
                    point.jensen_shannon,
                ] {
                    assert!(
                        found.value >= 0.0 && found.std_error >= 0.0,
                        "{low} {high} {log_beta}: {found:?}"
                    );
                }
                assert!(!point.log_z_beta.value.is_nan(), "{point:?}");
            }
        }
    }
}

#[test]
fn sizes_beyond_memory_are_refused() {
    use disco_core::{Space, StreamRng, scorer};
    use disco_qrs::{Budget, LocalMove, Qrs, RandomWalk, RandomWalkConfig, RunConfig};
    let start = Space::new(0..4i32).unwrap().uniform();
    let local =
        |_: &(), from: &i32, _: &mut StreamRng| -> disco_core::Result<_> { Ok(LocalMove::symmetric(*from)) };
    let target = scorer(|_: &(), _: &i32| 0.0);
    let config = RunConfig::new(1, Budget::draws(3));
    for chains in [0, usize::MAX, usize::MAX / 2, (1 << 24) + 1] {
        let walk = RandomWalk::new(
            &start,
            local,
            &target,
            (),
            RandomWalkConfig { chains, ..Default::default() },
            config,
        );
        let error = walk.err().unwrap().to_string();
        assert!(error.contains(&format!("number of chains is {chains}; allowed: 1 to 16777216")), "{error}");
    }
    for batch in [0, usize::MAX] {
        let error =
            Qrs::new(&start, &target, (), 0.0, RunConfig { batch, ..config }).err().unwrap().to_string();
        assert!(error.contains(&format!("batch of proposals is {batch}")), "{error}");
    }
    let error = Ratios::new(&[0.0], &[0.0]).unwrap().grid(usize::MAX).unwrap_err().to_string();
    assert!(error.contains("number of betas in a grid"), "{error}");
    let budget = Budget { seconds: Some(f64::INFINITY), ..Budget::default() };
    assert!(Qrs::new(&start, &target, (), 0.0, RunConfig::new(1, budget)).is_err());
}
