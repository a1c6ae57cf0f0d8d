//! The curve over a large sample equals sums over that sample written out: values and standard errors.

use disco_core::{Estimate, ImportanceWeights, Streams};
use disco_divergence::{Estimator, FDivergence, LogZ};
use disco_qrs::{Curve, Goal, Point, Ratios, Warning, choose_beta};
use rand::RngExt;

/// Interpolation between nodes and rounding of sums over 20,000 proposals.
const RELATIVE: f64 = 1e-11;

/// `n` pairs (ln P, ln q); one in ten is impossible, and some ratios are equal.
fn pairs(seed: u64, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut rng = Streams::new(seed, 1).rng(0);
    (0..n)
        .map(|i| {
            let log_proposal = -20.0 * rng.random::<f64>();
            let ratio = match i % 10 {
                0 => f64::NEG_INFINITY,
                1 => 0.5,
                _ => 1.2 * ((0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0) + 40.0,
            };
            (log_proposal + ratio, log_proposal)
        })
        .unzip()
}

#[track_caller]
fn close(found: Estimate, expected: Estimate, what: &str) {
    let same = |a: f64, b: f64| (a - b).abs() <= RELATIVE * b.abs() + 1e-13;
    let errors = (found.std_error - expected.std_error).abs() <= 1e-9 * expected.std_error + 1e-13;
    assert!(same(found.value, expected.value) && errors, "{what}: {found:?}, expected {expected:?}");
}

#[test]
fn values_and_errors_are_those_of_plain_sums() {
    let (log_target, log_proposal) = pairs(1, 20_000);
    let values: Vec<f64> = log_target.iter().map(|score| 1000.0 + (3.0 * score.max(-99.0)).sin()).collect();
    let ratios = Ratios::new(&log_target, &log_proposal).unwrap().with_feature("sine", &values).unwrap();
    let grid = [0.4, 0.5, 0.6, 37.0, 40.0, 41.3, 43.0, 44.0, 47.0];
    let curve = ratios.curve(&grid).unwrap();
    let weights = ImportanceWeights::new(&log_target, &log_proposal).unwrap();
    close(curve.log_z, weights.log_z(), "ln Z");
    assert!(
        (curve.ess - weights.ess()).abs() < 1e-6
            && (curve.largest_share - weights.largest_share()).abs() < 1e-9
    );
    let n = log_target.len() as f64;
    for (point, log_beta) in curve.points.iter().zip(grid) {
        let clipped: Vec<f64> =
            log_target.iter().zip(&log_proposal).map(|(target, q)| target.min(log_beta + q)).collect();
        let found = Estimator::new(&log_target, &clipped, &log_proposal)
            .and_then(|estimator| estimator.policy_log_z(LogZ::Estimated)?.estimate(&FDivergence::NAMED[..4]))
            .unwrap();
        let [forward_kl, reverse_kl, total_variation, jensen_shannon] = &found.divergences[..] else {
            panic!()
        };
        close(point.forward_kl, forward_kl.estimate, "forward kl");
        close(point.reverse_kl, reverse_kl.estimate, "reverse kl");
        close(point.total_variation, total_variation.estimate, "tv");
        close(point.jensen_shannon, jensen_shannon.estimate, "js");
        let accepted: Vec<f64> =
            clipped.iter().zip(&log_proposal).map(|(c, q)| (c - q - log_beta).exp()).collect();
        close(point.acceptance_rate, Estimate::mean(&accepted), "acceptance rate");
        let weights = ImportanceWeights::new(&clipped, &log_proposal).unwrap();
        close(point.log_z_beta, weights.log_z(), "ln Z_beta");
        let mean: f64 = weights.normalised().iter().zip(&values).map(|(weight, value)| weight * value).sum();
        let squares: f64 = weights
            .normalised()
            .iter()
            .zip(&values)
            .map(|(weight, value)| (weight * (value - mean)).powi(2))
            .sum();
        let expected =
            Estimate { value: mean, std_error: (squares * n / (n - 1.0)).sqrt(), ess: weights.ess() };
        close(point.features[0], expected, "feature");
        assert!((point.features[0].ess - weights.ess()).abs() < 1e-6 * weights.ess());
        let above =
            log_target.iter().zip(&log_proposal).filter(|(target, q)| *target - *q > log_beta).count();
        assert_eq!(point.above, above);
    }
}

#[test]
fn a_grid_gives_what_its_betas_give_alone() {
    let (log_target, log_proposal) = pairs(2, 5_000);
    let ratios = Ratios::new(&log_target, &log_proposal).unwrap();
    let grid = ratios.grid(17).unwrap();
    assert!(grid.is_sorted() && grid[16] == ratios.largest_log_ratio());
    for (point, log_beta) in ratios.curve(&grid).unwrap().points.iter().zip(&grid) {
        let alone = ratios.point(*log_beta).unwrap();
        close(point.total_variation, alone.total_variation, "tv");
        close(point.jensen_shannon, alone.jensen_shannon, "js");
        assert_eq!(point.acceptance_rate, alone.acceptance_rate);
    }
    // From all that can be accepted to nothing clipped.
    let curve = ratios.curve(&grid).unwrap();
    assert!(curve.points[0].acceptance_rate.value > 0.899 && curve.points[16].total_variation.value < 1e-12);
}

#[test]
fn doubtful_estimates_say_so() {
    let curve = |ratios: &[f64], log_beta: f64| {
        Ratios::new(ratios, &vec![0.0; ratios.len()]).unwrap().curve(&[log_beta]).unwrap()
    };
    let sound = curve(&[0.0, 0.1].repeat(500), 0.05);
    assert!(sound.warnings.is_empty() && sound.points[0].warnings.is_empty());
    let few = curve(&[0.0, 1.0, 5.0], 0.5);
    assert!(matches!(few.warnings[..], [Warning::DominantWeight { .. }, Warning::FewEffective { .. }]));
    assert_eq!(few.points[0].warnings, [Warning::FewAbove { above: 2 }, Warning::FewBelow { below: 1 }]);
    let none = curve(&vec![0.0; 300], 1.0);
    assert_eq!(none.points[0].warnings, [Warning::NoneAbove]);
    // The rule of three.
    assert!((none.points[0].above_at_most - 3.0 / 300.0).abs() < 1e-4);
    assert!(none.points[0].warnings[0].to_string().contains("no proposal has a ratio above beta"));
    assert_eq!(none.warnings, [Warning::EqualRatios]);
}

#[test]
fn an_acceptance_rate_without_error_says_so() {
    let ratios = |ratios: Vec<f64>| Ratios::new(&ratios, &vec![0.0; ratios.len()]).unwrap();
    let spread = |first: f64| ratios((0..300).map(|i| first + f64::from(i) / 300.0).collect());
    let point = |log_beta: f64| spread(0.0).point(log_beta).unwrap();
    // A ratio that is beta is not below it.
    for log_beta in [-1.0, 0.0] {
        let point = point(log_beta);
        let rate = point.acceptance_rate;
        assert!((rate.value - 1.0).abs() < 1e-14 && rate.std_error < 1e-8, "but for rounding: {rate:?}");
        assert_eq!(point.warnings, [Warning::NoneBelow]);
        assert!(point.warnings[0].to_string().contains("the acceptance rate shows as 1"));
        assert!((point.below_at_most - 3.0 / 300.0).abs() < 1e-4, "the rule of three");
    }
    assert_eq!(point(0.01).warnings, [Warning::FewBelow { below: 3 }]);
    assert_eq!(point(0.5).warnings, []);
    // An impossible sample is below any beta.
    let impossible = ratios([[f64::NEG_INFINITY, f64::NEG_INFINITY], [0.0, 1.0]].concat().repeat(100));
    assert!(impossible.point(-5.0).unwrap().warnings.is_empty());
    // A rate that only what was not seen could exclude: every smaller beta would do.
    let interval = |wanted: f64| spread(0.0).choose(Goal::AcceptanceRate(wanted)).unwrap().interval.unwrap();
    assert_eq!(interval(0.999).low, f64::NEG_INFINITY);
    assert!(interval(0.98).low > 0.0);
    // Of contexts, the worst warning, and the mean of the bounds.
    let mean = Point::mean(&[0.01, 0.02].map(|log_beta| spread(0.0).point(log_beta).unwrap())).unwrap();
    assert_eq!(mean.warnings, [Warning::FewBelow { below: 3 }]);
    let bounds = [0.01, 0.02].map(|log_beta| point(log_beta).below_at_most);
    assert!((mean.below_at_most - (bounds[0] + bounds[1]) / 2.0).abs() < 1e-15);
    // Over a whole space there is nothing unseen: a tenth of the mass is below.
    let exact = Ratios::exact(&[0.1f64.ln() - 1.0, 0.9f64.ln()], &[0.1f64.ln(), 0.9f64.ln()]).unwrap();
    let (below, none) = (exact.point(-0.5).unwrap(), exact.point(-2.0).unwrap());
    assert!((below.below_at_most - 0.1).abs() < 1e-15 && none.below_at_most < 1e-15);
    assert!(
        below.warnings.is_empty()
            && none.warnings.is_empty()
            && exact.curve(&[0.0]).unwrap().warnings.is_empty()
    );
}

#[test]
fn equal_ratios_say_so() {
    let warnings = |spread: f64, last: f64| {
        let mut ratios: Vec<f64> = (0..400).map(|i| spread * f64::from(i % 2)).collect();
        ratios.push(last);
        Ratios::new(&ratios, &vec![0.0; 401]).unwrap().curve(&[-1.0]).unwrap().warnings
    };
    assert_eq!(warnings(0.0, 0.0), [Warning::EqualRatios]);
    assert_eq!(warnings(1e-12, 0.0), [Warning::EqualRatios], "rounding");
    assert_eq!(warnings(1e-6, 0.0), []);
    assert_eq!(warnings(0.0, f64::NEG_INFINITY), []);
}

#[test]
fn points_of_files_from_before_the_bound_below_are_read() {
    let (log_target, log_proposal) = pairs(3, 1_000);
    let mut point = Ratios::new(&log_target, &log_proposal).unwrap().point(41.0).unwrap();
    let mut json = serde_json::to_value(&point).unwrap();
    json.as_object_mut().unwrap().remove("below_at_most").unwrap();
    let read: Point = serde_json::from_value(json).unwrap();
    point.below_at_most = 1.0;
    assert_eq!(read, point);
}

#[test]
fn the_share_above_is_bounded() {
    // Clopper-Pearson for 3 of 100, one-sided 95%: P(Binomial(100, b) <= 3) = 0.05 at b = 0.0757.
    let ratios: Vec<f64> = (0..100).map(f64::from).collect();
    let point = Ratios::new(&ratios, &vec![0.0; 100]).unwrap().point(96.5).unwrap();
    let b: f64 = point.above_at_most;
    let binomial = |k: i32, choose: f64| choose * b.powi(k) * (1.0 - b).powi(100 - k);
    let tail = binomial(0, 1.0) + binomial(1, 100.0) + binomial(2, 4950.0) + binomial(3, 161_700.0);
    assert!((tail - 0.05).abs() < 1e-6, "{b} {tail}");
    assert_eq!(point.above, 3);
}

#[test]
fn contexts_are_averaged() {
    let contexts: Vec<Ratios> = (0..3)
        .map(|seed| {
            let (log_target, log_proposal) = pairs(seed, 2_000);
            let shifted: Vec<f64> = log_target.iter().map(|score| score + seed as f64).collect();
            Ratios::new(&shifted, &log_proposal).unwrap()
        })
        .collect();
    for (goal, reached) in [
        (Goal::AcceptanceRate(0.3), (|point: &Point| point.acceptance_rate.value) as fn(&Point) -> f64),
        (Goal::TotalVariation(0.1), |point: &Point| point.total_variation.value),
    ] {
        let choice = choose_beta(&contexts, goal).unwrap();
        let points: Vec<Point> =
            contexts.iter().map(|ratios| ratios.point(choice.log_beta).unwrap()).collect();
        let mean = points.iter().map(reached).sum::<f64>() / 3.0;
        let wanted = match goal {
            Goal::AcceptanceRate(wanted) | Goal::TotalVariation(wanted) => wanted,
            _ => panic!(),
        };
        assert!((mean - wanted).abs() < 1e-9 && (reached(&choice.point) - wanted).abs() < 1e-9);
        assert!(choice.std_error.unwrap() > 0.0);
        let error: f64 =
            points.iter().map(|point| point.total_variation.std_error.powi(2)).sum::<f64>().sqrt() / 3.0;
        assert!((choice.point.total_variation.std_error - error).abs() < 1e-15);
    }
    let grid = [39.0, 41.0];
    let curves: Vec<Curve> = contexts.iter().map(|ratios| ratios.curve(&grid).unwrap()).collect();
    let mean = Curve::mean(&curves).unwrap();
    let expected = curves.iter().map(|curve| curve.points[1].forward_kl.value).sum::<f64>() / 3.0;
    assert!((mean.points[1].forward_kl.value - expected).abs() < 1e-12);
    assert!(choose_beta(&contexts, Goal::LargestRatio).unwrap().std_error.is_none());
}

#[test]
fn reports_are_read_back() {
    let (log_target, log_proposal) = pairs(3, 1_000);
    let ratios = Ratios::new(&log_target, &log_proposal).unwrap();
    let curve = ratios.curve(&[39.0, 60.0]).unwrap();
    let json = serde_json::to_string(&curve).unwrap();
    assert_eq!(serde_json::from_str::<Curve>(&json).unwrap(), curve);
    assert!(json.contains("\"kind\":\"none_above\""));
}

#[test]
fn values_do_not_change() {
    let (log_target, log_proposal) = pairs(4, 3_000);
    let point = Ratios::new(&log_target, &log_proposal).unwrap().point(41.0).unwrap();
    let found = [
        point.acceptance_rate.value,
        point.total_variation.value,
        point.total_variation.std_error,
        point.forward_kl.value,
        point.reverse_kl.value,
        point.jensen_shannon.value,
    ];
    let expected = [
        0.38275284861287917,
        0.25042066528722956,
        0.010566134945668711,
        0.2263352208871474,
        0.17058101403182552,
        0.046639481659689834,
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-12, "{point:?}");
    }
}
