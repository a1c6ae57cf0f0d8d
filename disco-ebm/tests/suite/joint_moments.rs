//! Shared moments together with moments per context, against the dense dual of the expanded problem: a feature of each
//! context for each moment per context, `phi * 1[c]`, of mean `share_c * target_c`.

use disco_core::{StreamRng, feature};
use disco_ebm::{Constraint, ContextErrors, Error, FitConfig, Measured, features};
use rand::SeedableRng;

use crate::worlds::{base, bits, mean, moment, noise, space, value, values};

/// Both minimise the same convex function: coefficients agree to this.
const EXACT: f64 = 1e-7;
/// Errors are sums of squares over the same samples, added in another order.
const SUMMED: f64 = 1e-6;

fn target_of(context: usize) -> f64 {
    0.7 + 0.5 * noise(77, context as u64, 3)
}

struct Both {
    joint: disco_ebm::Fit<usize, usize>,
    dense: disco_ebm::Fit<usize, usize>,
    shares: Vec<f64>,
}

/// Two shared moments, and two per context, one of them with a tolerance of 0; fitted both ways.
fn both(
    measure: impl Fn(&[Constraint<usize, usize>]) -> Measured<usize, usize>,
    shares: &[f64],
    config: &FitConfig,
) -> Both {
    let contexts = shares.len();
    let shared = || [moment(values(1), 0.8), moment(bits(2), 0.45)];
    let own = [
        moment(values(3), 0.0).with_targets((0..contexts).map(target_of).collect()).expect("finite"),
        moment(bits(4), 0.6).per_context().expect("a mean"),
    ];
    let constraints: Vec<_> = shared().into_iter().chain(own).collect();
    let joint = measure(&constraints).fit(&constraints, config).expect("fits");
    let expanded = (0..contexts).flat_map(|context| {
        let value =
            feature(
                format!("value 3 in {context}"),
                move |c: &usize, x: &usize| {
                    if *c == context { value(3, *c, *x) } else { 0.0 }
                },
            );
        let bit = feature(format!("bit 4 in {context}"), move |c: &usize, x: &usize| {
            if *c == context { crate::worlds::bit(4, *x) } else { 0.0 }
        });
        [moment(value, shares[context] * target_of(context)), moment(bit, shares[context] * 0.6)]
    });
    let dense: Vec<_> = shared().into_iter().chain(expanded).collect();
    let dense = measure(&dense).fit(&dense, config).expect("fits");
    Both { joint, dense, shares: shares.to_vec() }
}

impl Both {
    fn check(&self, errors_too: bool) {
        let (joint, dense) = (self.joint.report(), self.dense.report());
        let near = |one: f64, two: f64, tolerance: f64, what: &str| {
            let close = (one - two).abs() <= tolerance * (1.0 + one.abs().max(two.abs()));
            assert!(close, "{what}: {one} {two}");
        };
        for i in 0..2 {
            let (one, two) = (
                joint.constraints[i].coefficient.expect("shared"),
                dense.constraints[i].coefficient.expect("a mean"),
            );
            near(one.value, two.value, EXACT, "shared coefficient");
            near(joint.constraints[i].achieved.value, dense.constraints[i].achieved.value, EXACT, "moment");
            if errors_too {
                near(one.std_error, two.std_error, SUMMED, "error of a shared coefficient");
                let errors =
                    (joint.constraints[i].achieved.std_error, dense.constraints[i].achieved.std_error);
                near(errors.0, errors.1, SUMMED, "error of a shared moment");
            }
        }
        near(joint.log_z.value, dense.log_z.value, EXACT, "ln Z");
        near(joint.kl_from_base.value, dense.kl_from_base.value, EXACT, "KL");
        if errors_too {
            near(joint.log_z.std_error, dense.log_z.std_error, SUMMED, "error of ln Z");
            near(joint.kl_from_base.std_error, dense.kl_from_base.std_error, SUMMED, "error of KL");
        }
        for (context, report) in joint.by_context.iter().enumerate() {
            for k in 0..2 {
                let (one, two) = (&report.constraints[2 + k], &dense.constraints[2 + 2 * context + k]);
                let coefficients = (one.coefficient.expect("its own"), two.coefficient.expect("a mean"));
                near(coefficients.0.value, coefficients.1.value, EXACT, "own coefficient");
                if errors_too {
                    near(
                        coefficients.0.std_error,
                        coefficients.1.std_error,
                        SUMMED,
                        "error of an own coefficient",
                    );
                    let achieved = one.achieved.expect("no condition").std_error;
                    near(
                        achieved,
                        two.achieved.std_error / self.shares[context],
                        SUMMED,
                        "error of an own moment",
                    );
                }
            }
        }
    }
}

#[test]
fn on_a_space_it_is_the_dense_solution() {
    for (seed, shares) in [(1, vec![0.25; 4]), (2, vec![0.5, 0.1, 0.3, 0.05, 0.05])] {
        let exact = |constraints: &[Constraint<usize, usize>]| {
            let contexts = (0..shares.len()).collect();
            let measured = Measured::exact(&base(seed, 40), &space(40), contexts, &features(constraints));
            measured.expect("measured").with_context_weights(&shares).expect("weights")
        };
        both(exact, &shares, &FitConfig::default()).check(true);
    }
}

#[test]
fn on_samples_its_errors_are_the_dense_ones() {
    let shares = [0.2, 0.5, 0.3];
    let drawn = |constraints: &[Constraint<usize, usize>]| {
        let mut rng = StreamRng::seed_from_u64(4);
        let measured =
            Measured::draw(&space(60).uniform(), vec![0, 1, 2], &features(constraints), 700, &mut rng);
        measured.expect("measured").with_context_weights(&shares).expect("weights")
    };
    both(drawn, &shares, &FitConfig { held_out: 0.0, ..FitConfig::default() }).check(true);
}

#[test]
fn with_a_ridge_the_shared_coefficients_are_those_of_the_profile() {
    // The expanded problem has another ridge on own coefficients, so that the conditions of optimality are checked instead.
    let ridge = 0.03;
    let constraints = [
        moment(values(1), 1.1),
        moment(bits(2), 0.45).within(0.02).expect("positive"),
        moment(values(3), 1.2).within(0.1).expect("positive").per_context().expect("a mean"),
    ];
    let measured = Measured::exact(&base(3, 30), &space(30), (0..5).collect(), &features(&constraints))
        .expect("measured");
    let config = FitConfig { ridge, ..FitConfig::default() };
    let fit = measured.fit(&constraints, &config).expect("fits");
    let target = fit.target(base(3, 30));
    let p: Vec<Vec<f64>> =
        (0..5).map(|context| space(30).log_scores(&target, &context).expect("scores")).collect();
    let coefficients: Vec<f64> = fit.tilt().coefficients().flatten().collect();
    let over_contexts = |f: &dyn Fn(usize, usize) -> f64| {
        p.iter().enumerate().map(|(context, p)| mean(p, |x| f(context, x)) / 5.0).sum::<f64>()
    };
    assert!((over_contexts(&|c, x| value(1, c, x)) - 1.1 + ridge * coefficients[0]).abs() < 1e-8);
    let second = over_contexts(&|_, x| crate::worlds::bit(2, x)) - 0.45 + ridge * coefficients[1];
    let optimal = if coefficients[1] == 0.0 {
        second.abs() <= 0.02
    } else {
        (second + 0.02 * coefficients[1].signum()).abs() < 1e-8
    };
    assert!(optimal, "{second} {}", coefficients[1]);
    for (context, p) in p.iter().enumerate() {
        let own = fit.tilt().coefficients_in(&context).expect("fitted")[2].expect("a mean");
        let missed = mean(p, |x| value(3, context, x)) - 1.2 + ridge * own;
        let optimal =
            if own == 0.0 { missed.abs() <= 0.1 + 1e-9 } else { (missed + 0.1 * own.signum()).abs() < 1e-8 };
        assert!(optimal, "{context}: {missed} {own}");
    }
}

#[test]
fn a_shared_moment_that_follows_is_redundant_and_one_that_contradicts_is_named() {
    let constraints = |target: f64| {
        [
            moment(bits(1), 0.4).per_context().expect("a mean"),
            moment(feature("twice", |_: &usize, x: &usize| 2.0 * crate::worlds::bit(1, *x)), target),
            moment(values(2), 0.9),
        ]
    };
    let fit = |target: f64| {
        let constraints = constraints(target);
        let measured = Measured::exact(&base(4, 20), &space(20), (0..4).collect(), &features(&constraints));
        measured.expect("measured").fit(&constraints, &FitConfig::default())
    };
    let report = fit(0.8).expect("fits").report().clone();
    assert_eq!(report.redundant.len(), 1);
    assert_eq!(report.redundant[0].feature, "twice");
    assert_eq!(report.constraints[1].coefficient.expect("shared").value, 0.0);
    assert!((report.constraints[2].achieved.value - 0.9).abs() < 1e-9);
    let Err(Error::OutsideHull { direction, target, reachable, .. }) = fit(0.9) else {
        panic!("a contradiction")
    };
    assert!(direction.iter().any(|(name, _)| name == "twice"), "{direction:?}");
    assert!(target > reachable, "{target} {reachable}");
}

#[test]
fn targets_that_cannot_hold_together_are_named() {
    // The second feature is at least the first: with a mean of 0.6 of the one in each context, 0.5 of the other is too low.
    let below = |limit: usize| {
        feature(format!("below {limit}"), move |_: &usize, x: &usize| f64::from(u8::from(*x < limit)))
    };
    let constraints = [moment(below(5), 0.6).per_context().expect("a mean"), moment(below(8), 0.5)];
    let measured = Measured::exact(&base(5, 20), &space(20), (0..3).collect(), &features(&constraints))
        .expect("measured");
    match measured.fit(&constraints, &FitConfig::default()) {
        Err(Error::OutsideHull { direction, .. }) => {
            assert!(
                direction.iter().any(|(name, factor)| name == "below 8" && *factor < 0.0),
                "{direction:?}"
            );
        }
        other => panic!("{:?}", other.map(|fit| fit.report().clone())),
    }
    // Just within reach.
    let constraints = [moment(below(5), 0.6).per_context().expect("a mean"), moment(below(8), 0.6001)];
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    assert!((fit.report().constraints[1].achieved.value - 0.6001).abs() < 1e-9);
}

#[test]
fn far_targets_are_reached() {
    // The base gives what is asked of all contexts a probability of e^-80.
    let far = disco_core::scorer(|_: &usize, x: &usize| if *x < 2 { -80.0 } else { -(18f64.ln()) });
    let first = feature("below 2", |_: &usize, x: &usize| f64::from(u8::from(*x < 2)));
    let constraints = [moment(first, 0.5), moment(bits(6), 0.3).per_context().expect("a mean")];
    let measured =
        Measured::exact(&far, &space(20), (0..4).collect(), &features(&constraints)).expect("measured");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    assert!((fit.report().constraints[0].achieved.value - 0.5).abs() < 1e-9);
}

#[test]
fn drawn_contexts_have_errors_between_contexts() {
    let constraints = [moment(values(1), 0.8), moment(bits(4), 0.6).per_context().expect("a mean")];
    let measured = Measured::exact(&base(6, 40), &space(40), (0..6).collect(), &features(&constraints))
        .expect("measured");
    let config = FitConfig { context_errors: ContextErrors::Drawn, ..FitConfig::default() };
    let report = measured.fit(&constraints, &config).expect("fits").report().clone();
    // The error of a mean of independent contexts, by hand.
    let target = measured.fit(&constraints, &config).expect("fits").target(base(6, 40));
    let means: Vec<f64> = (0..6)
        .map(|context| {
            mean(&space(40).log_scores(&target, &context).expect("scores"), |x| value(1, context, x))
        })
        .collect();
    let centre = means.iter().sum::<f64>() / 6.0;
    let variance = means.iter().map(|mean| (mean - centre).powi(2)).sum::<f64>() / 5.0 / 6.0;
    assert!((report.constraints[0].achieved.std_error - variance.sqrt()).abs() < 1e-12);
    assert!(report.constraints[0].coefficient.expect("shared").std_error > 0.0);
    // Influence functions, from fits in which one context counts a little more: the error of a mean of independent contexts is
    // that of the mean of what each moves the estimate by.
    let estimates = |context: usize, more: f64| {
        let shares: Vec<f64> =
            (0..6).map(|other| (1.0 - more) / 6.0 + if other == context { more } else { 0.0 }).collect();
        let measured = Measured::exact(&base(6, 40), &space(40), (0..6).collect(), &features(&constraints));
        let measured = measured.expect("measured").with_context_weights(&shares).expect("weights");
        let report = measured.fit(&constraints, &config).expect("fits").report().clone();
        [report.log_z.value, report.kl_from_base.value]
    };
    let mut squares = [0.0; 2];
    for context in 0..6 {
        let (high, low) = (estimates(context, 1e-4), estimates(context, -1e-4));
        for (square, (high, low)) in squares.iter_mut().zip(high.iter().zip(low)) {
            *square += ((high - low) / 2e-4).powi(2);
        }
    }
    for (found, square) in [report.log_z, report.kl_from_base].iter().zip(squares) {
        let expected = (square / 6.0 / 5.0).sqrt();
        // Differences of the second order, squared.
        assert!((found.std_error / expected - 1.0).abs() < 1e-5, "{found:?} {expected}");
    }
}

#[test]
fn one_drawn_context_says_nothing_of_others() {
    let constraints = [moment(values(1), 0.8), moment(bits(4), 0.6).per_context().expect("a mean")];
    let measured =
        Measured::exact(&base(6, 40), &space(40), vec![0], &features(&constraints)).expect("measured");
    let config = FitConfig { context_errors: ContextErrors::Drawn, ..FitConfig::default() };
    let error = measured.fit(&constraints, &config).expect_err("one context").to_string();
    assert!(error.contains("two contexts or more"), "{error}");
}

#[test]
fn a_context_of_one_sample_varies_about_the_mean_over_contexts() {
    let measure = |features: &[std::sync::Arc<dyn disco_core::Feature<usize, usize>>]| {
        let mut rng = StreamRng::seed_from_u64(9);
        Measured::draw(&space(900).uniform(), vec![0, 1, 2], features, 300, &mut rng).expect("measured")
    };
    let outcome = feature("outcome", |_: &usize, x: &usize| *x as f64);
    let outcomes = measure(&[std::sync::Arc::new(outcome)]);
    let outcomes: Vec<f64> = outcomes.values(0).expect("one").column(0).to_vec();
    let once =
        |x: &&f64| outcomes.iter().filter(|other| other == x).count() == 1 && value(1, 0, **x as usize) > 2.5;
    let single = *outcomes.iter().find(once).expect("many are drawn once") as usize;
    let chosen = feature("chosen", move |c: &usize, x: &usize| {
        if *c == 0 { f64::from(u8::from(*x == single)) } else { crate::worlds::bit(4, *x) }
    });
    let constraints =
        [moment(values(1), 1.5), moment(chosen, 0.0).with_targets(vec![1.0, 0.5, 0.6]).expect("finite")];
    let config = FitConfig { held_out: 0.0, min_ess: 0.5, ..FitConfig::default() };
    let fit = measure(&features(&constraints)).fit(&constraints, &config).expect("fits");
    let report = fit.report();
    assert_eq!(report.by_context[0].samples_in_support, 1);
    let achieved = report.constraints[0].achieved;
    let distance = report.by_context[0].constraints[0].achieved.expect("no condition").value - achieved.value;
    assert!(achieved.std_error >= distance.abs() / 3.0, "{achieved:?} {distance}");
}

#[test]
#[ignore = "sweep: 1,000 contexts with 3 moments each and 10 shared ones on 500,000 samples, seconds"]
fn sweep_a_thousand_contexts() {
    let contexts: Vec<usize> = (0..1000).collect();
    let mut constraints: Vec<_> = (0..10).map(|k| moment(values(k), 1.0 + 0.02 * k as f64)).collect();
    constraints
        .extend((0..3).map(|k| moment(bits(20 + k), 0.3 + 0.1 * k as f64).per_context().expect("a mean")));
    let mut rng = StreamRng::seed_from_u64(8);
    let measured = Measured::draw(&space(400).uniform(), contexts, &features(&constraints), 500, &mut rng)
        .expect("measured");
    let config = FitConfig { held_out: 0.0, ..FitConfig::default() };
    let started = std::time::Instant::now();
    let fit = measured.fit(&constraints, &config).expect("fits");
    let seconds = started.elapsed().as_secs_f64();
    println!("{seconds:.2} s, {} steps, residual {:e}", fit.report().iterations, fit.report().residual);
    for (k, constraint) in fit.report().constraints.iter().take(10).enumerate() {
        assert!((constraint.achieved.value - 1.0 - 0.02 * k as f64).abs() < 1e-8);
    }
    for context in &fit.report().by_context {
        for k in 0..3 {
            let achieved = context.constraints[10 + k].achieved.expect("no condition").value;
            assert!((achieved - 0.3 - 0.1 * k as f64).abs() < 1e-8);
        }
    }
    assert!(seconds < 60.0, "{seconds}");
}
