//! Targets that the base makes as improbable as `f64` can say, against closed forms.

use disco_core::{
    Distribution, Mixture, Sampled, Space, StreamRng, Streams, Table, feature, predicate, scorer,
};
use disco_ebm::{
    Constraint, Dual, Error, EvaluatedSamples, FitConfig, Measured, MomentTarget, Solver, features,
};
use ndarray::{Array2, array};
use rand::SeedableRng;

fn solve(log_weights: Vec<f64>, values: Array2<f64>, targets: &[f64]) -> Result<Vec<f64>, Error> {
    let targets = targets.iter().enumerate();
    let targets = targets
        .map(|(i, target)| MomentTarget { name: i.to_string(), target: *target, tolerance: 0.0 })
        .collect();
    let points = EvaluatedSamples::exact(log_weights, values).expect("points");
    let solution = Dual::new(targets, vec![points], None, 0.0)?.solve(&Solver::default())?;
    assert!(solution.termination.is_converged(), "{solution:?}");
    Ok(solution.coefficients)
}

/// Outcomes 0, 1, 2 of log-weights 0, -g, -2g and the mean 1: `lambda = g`, and 1/3 each.
#[test]
fn three_outcomes_far_apart() {
    for g in [0.0, 1.0, 20.0, 60.0, 80.0, 300.0, 700.0, 1e4, 1e8] {
        let found = solve(vec![0.0, -g, -2.0 * g], array![[0.0], [1.0], [2.0]], &[1.0]).expect("inside");
        assert!((found[0] - g).abs() <= 1e-8 + 1e-15 * g, "{g}: {found:?}");
    }
}

/// `exp(-x)` on 0 to n with the mean `n - 1/2`: `lambda = 1 + ln 3` up to `3^-n` (the sum of a geometric series).
#[test]
fn a_mean_at_the_far_end() {
    for n in [50, 100, 700, 2000, 20_000] {
        let values = Array2::from_shape_fn((n + 1, 1), |(x, _)| x as f64);
        let log_weights = (0..=n).map(|x| -(x as f64)).collect();
        let found = solve(log_weights, values, &[n as f64 - 0.5]).expect("inside");
        // The scores are numbers of the size n: their rounding is 1e-16 n.
        assert!((found[0] - 1.0 - 3f64.ln()).abs() < 1e-10 + 1e-15 * n as f64, "{n}: {found:?}");
    }
}

/// Independent binary features, each of probability `e^-g`, asked for one half: `lambda = g` each, up to `e^-g`.
#[test]
fn several_rare_features() {
    for d in [1, 2, 3, 5] {
        for g in [30.0, 80.0, 300.0, 700.0] {
            let bit = |x: usize, i: usize| (x >> i & 1) as f64;
            let values = Array2::from_shape_fn((1 << d, d), |(x, i)| bit(x, i));
            let log_weights = (0..1usize << d).map(|x| -g * f64::from(x.count_ones())).collect();
            let found = solve(log_weights, values, &vec![0.5; d]).expect("inside");
            assert!(found.iter().all(|lambda| (lambda - g).abs() < 1e-7), "{d} {g}: {found:?}");
        }
    }
}

/// As above with a tolerance of 0.1, which each moment uses up: `lambda = g + ln(0.4 / 0.6)`; and with a ridge, for
/// which `p = 1 / (1 + exp(g - lambda))` and `p + ridge lambda = 1/2`.
#[test]
fn tolerances_and_ridges_far_away() {
    for g in [10.0, 80.0, 300.0] {
        let values = array![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        let points = EvaluatedSamples::exact(vec![0.0, -g, -g, -2.0 * g], values).expect("points");
        let targets = |tolerance| {
            ["a", "b"].map(|name| MomentTarget { name: name.into(), target: 0.5, tolerance }).to_vec()
        };
        let dual = Dual::new(targets(0.1), vec![points.clone()], None, 0.0).expect("a dual");
        let found = dual.solve(&Solver::default()).expect("inside");
        assert!(found.termination.is_converged());
        let expected = g + (0.4f64 / 0.6).ln();
        assert!(found.coefficients.iter().all(|lambda| (lambda - expected).abs() < 1e-7), "{g}: {found:?}");
        let ridge = 1e-4;
        let dual = Dual::new(targets(0.0), vec![points], None, ridge).expect("a dual");
        let found = dual.solve(&Solver::default()).expect("inside");
        assert!(found.termination.is_converged());
        for lambda in &found.coefficients {
            let p = 1.0 / (1.0 + (g - lambda).exp());
            assert!((p + ridge * lambda - 0.5).abs() < 1e-9, "{g}: {lambda}");
        }
    }
}

/// Two contexts, in which `lambda` moves the means to 1/2 together: logits `lambda - g` and `lambda - g - 2 h` have means
/// that sum to one at `lambda = g + h`.
#[test]
fn contexts_far_from_the_target() {
    for (g, h) in [(50.0, 0.0), (80.0, 3.0), (500.0, 40.0)] {
        let context = |g: f64| EvaluatedSamples::exact(vec![0.0, -g], array![[0.0], [1.0]]).expect("points");
        let target = MomentTarget { name: "x".into(), target: 0.5, tolerance: 0.0 };
        let dual =
            Dual::new(vec![target], vec![context(g), context(g + 2.0 * h)], None, 0.0).expect("a dual");
        let found = dual.solve(&Solver::default()).expect("inside");
        assert!(found.termination.is_converged());
        let mean = |g: f64| 1.0 / (1.0 + (g - found.coefficients[0]).exp());
        assert!((mean(g) + mean(g + 2.0 * h) - 1.0).abs() < 1e-12, "{found:?}");
        if h < 10.0 {
            assert!((found.coefficients[0] - g - h).abs() < 1e-9, "{found:?}");
        }
    }
}

fn poisson(mean: f64) -> Table<u32> {
    let log_score =
        move |_: &(), k: &u32| f64::from(*k) * mean.ln() - (1..=*k).map(|i| f64::from(i).ln()).sum::<f64>();
    Space::new(0..2000u32).expect("distinct").normalise(&scorer(log_score), &()).expect("a distribution")
}

/// A proposal that is the target: Poisson(1) as base, Poisson(1000) as proposal, the mean 1000. `lambda = ln 1000`, and
/// nearly all samples are effective.
#[test]
fn a_proposal_that_is_the_target() {
    let (base, proposal) = (poisson(1.0), poisson(1000.0));
    let constraints =
        [Constraint::moment(feature("k", |_: &(), k: &u32| f64::from(*k)), 1000.0).expect("finite")];
    let mut rng = StreamRng::seed_from_u64(1);
    let measured = Measured::draw_from(&base, &proposal, vec![()], &features(&constraints), 2000, &mut rng)
        .expect("measures");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let report = fit.report();
    assert!(report.ess.expect("sampled") > 1900.0, "{report:?}");
    let lambda = report.constraints[0].coefficient.expect("a moment");
    assert!(
        (lambda.value - 1000f64.ln()).abs() < 4.0 * lambda.std_error && lambda.std_error < 1e-3,
        "{lambda:?}"
    );
    assert!((report.constraints[0].achieved.value - 1000.0).abs() < 1e-6);
    // Z = E[1000^k] = e^999 under Poisson(1).
    assert!((report.log_z.value - 999.0).abs() < 4.0 * report.log_z.std_error, "{:?}", report.log_z);
}

/// Two binary features of probability `e^-g`, and a proposal that has each half of the time: `lambda = g` up to sampling.
#[test]
fn rare_features_that_the_proposal_has() {
    for g in [20.0, 80.0, 300.0] {
        let space = Space::new(0..4u32).expect("distinct");
        let bits = |x: u32| f64::from(x.count_ones());
        let base =
            Table::from_log_scores(space.clone(), (0..4).map(|x| -g * bits(x)).collect()).expect("scores");
        let proposal = space.uniform();
        let constraints = [0u32, 1].map(|i| {
            Constraint::moment(predicate(format!("bit {i}"), move |_: &(), x: &u32| x >> i & 1 == 1), 0.5)
                .expect("finite")
        });
        let mut rng = StreamRng::seed_from_u64(2);
        let measured =
            Measured::draw_from(&base, &proposal, vec![()], &features(&constraints), 2000, &mut rng)
                .expect("measures");
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
        assert!(fit.report().ess.expect("sampled") > 1900.0);
        for report in &fit.report().constraints {
            let lambda = report.coefficient.expect("a moment");
            assert!(
                (lambda.value - g).abs() < 4.0 * lambda.std_error && lambda.std_error < 0.1,
                "{lambda:?}"
            );
            assert!((report.achieved.value - 0.5).abs() < 1e-9);
        }
    }
}

/// Weak samples are reported as they are at the solution, and a solution that `f64` cannot hold is an error.
#[test]
fn what_cannot_be_fitted_is_an_error() {
    // Among 1,000 samples of the base none is above the mean that is asked for.
    let base = poisson(1.0);
    let constraints =
        [Constraint::moment(feature("k", |_: &(), k: &u32| f64::from(*k)), 1000.0).expect("finite")];
    let mut rng = StreamRng::seed_from_u64(3);
    let drawn: Vec<Sampled<u32>> = base.sample(&(), &Streams::from_rng(&mut rng, 1000)).expect("samples");
    let measured = Measured::from_base(vec![()], vec![drawn], &features(&constraints)).expect("measures");
    let error = measured.fit(&constraints, &FitConfig::default()).expect_err("out of reach");
    assert!(matches!(error, Error::OutOfReach { .. }), "{error}");
    // Scores of 1e17 are whole multiples of 16: no coefficient gives one half of each, or 0.3 and 0.7.
    match solve(vec![0.0, -1.0e17, -2.0e17 - 7.0], array![[0.0], [1.0], [2.0]], &[0.9]) {
        Err(Error::NotSolved { target, achieved, .. }) => assert!(target == 0.9 && achieved != 0.9),
        Ok(found) => panic!("{found:?}"),
        Err(other) => panic!("{other}"),
    }
    // One step is not enough, and the fit says so.
    let mixture = Mixture::new([(0.5, poisson(2.0)), (0.5, poisson(10.0))]).expect("a mixture");
    let constraints = [
        Constraint::moment(feature("k", |_: &(), k: &u32| f64::from(*k)), 8.0).expect("finite"),
        Constraint::moment(feature("k squared", |_: &(), k: &u32| f64::from(*k).powi(2)), 90.0)
            .expect("finite"),
    ];
    let measured =
        Measured::draw(&mixture, vec![()], &features(&constraints), 2000, &mut rng).expect("measures");
    let config =
        FitConfig { solver: Solver { max_iterations: 1, ..Solver::default() }, ..FitConfig::default() };
    let error = measured.fit(&constraints, &config).expect_err("one step");
    assert!(matches!(error, Error::NotSolved { iterations: 1, .. }), "{error}");
}
