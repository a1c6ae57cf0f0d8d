//! Categories: the closed form of the coefficients, and distances against sums by hand.

use std::sync::Arc;

use disco_core::{ImportanceWeights, StreamRng, feature};
use disco_ebm::{
    Category, CategoryDistance, ConstraintKind, ContextErrors, Error, FitConfig, Measured, features,
};
use rand::SeedableRng;

use crate::worlds::{base, log_base, mean, space};

fn weekday() -> Category<usize, usize> {
    let rest = feature("rest", |_: &usize, x: &usize| (x % 4) as f64);
    Category::new(Arc::new(rest), ["a", "b", "c", "other"]).expect("four labels")
}

fn share(log_weights: &[f64], label: usize) -> f64 {
    mean(log_weights, |x| f64::from(u8::from(x % 4 == label)))
}

#[test]
fn coefficients_are_the_logarithms_of_ratios_of_shares() {
    let asked = [0.1, 0.2, 0.3, 0.4];
    let constraints = weekday().shares(&asked).expect("they sum to 1");
    assert_eq!(features(&constraints).len(), 1, "the category is measured once");
    let measured =
        Measured::exact(&base(1, 22), &space(22), vec![0], &features(&constraints)).expect("measured");
    let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
    let log_base = log_base(1, 22, 0);
    let expected: Vec<f64> = (0..4).map(|k| (asked[k] / share(&log_base, k)).ln()).collect();
    let found: Vec<f64> = fit.tilt().coefficients().flatten().collect();
    // Equal up to a constant: one of them is redundant.
    for k in 1..4 {
        assert!((found[k] - found[0] - (expected[k] - expected[0])).abs() < 1e-9, "{found:?} {expected:?}");
    }
    assert_eq!(fit.report().redundant.len(), 1);
    assert!(fit.report().warnings().is_empty(), "{:?}", fit.report().warnings());
    let report = &fit.report().categories[0];
    assert_eq!((report.category.as_str(), report.labels.len()), ("rest", 4));
    assert!(report.achieved.total_variation.value < 1e-12 && report.achieved.wasserstein.is_none());
    let distance = (0..4).map(|k| (share(&log_base, k) - asked[k]).abs()).sum::<f64>() / 2.0;
    assert!((report.base.total_variation.value - distance).abs() < 1e-12);
    assert!((report.base.shares[2].value - share(&log_base, 2)).abs() < 1e-12);
}

#[test]
fn shares_may_differ_by_context() {
    let category = weekday();
    let asked = [vec![0.1, 0.2, 0.3, 0.4], vec![0.0, 0.5, 0.25, 0.25], vec![0.0, 0.0, 1.0, 0.0]];
    for constraints in [
        category.shares_in_each(&asked).expect("they sum to 1"),
        category
            .shares(&asked[0])
            .expect("they sum to 1")
            .into_iter()
            .map(|one| one.per_context().expect("a mean"))
            .collect(),
    ] {
        let same = constraints[3].name() == "rest = other" && category.shares(&asked[0]).is_ok();
        assert!(same);
        let measured = Measured::exact(&base(2, 22), &space(22), vec![0, 1, 2], &features(&constraints));
        let fit = measured.expect("measured").fit(&constraints, &FitConfig::default()).expect("fits");
        assert!(fit.report().warnings().is_empty(), "{:?}", fit.report().warnings());
        for context in 0..3 {
            let p = space(22).log_scores(&fit.target(base(2, 22)), &context).expect("scores");
            let achieved = &fit.report().by_context[context].constraints;
            for (label, one) in achieved.iter().enumerate() {
                let wanted = match one.asked {
                    Some(ConstraintKind::Moment { target, .. }) => target,
                    Some(ConstraintKind::Pointwise { wanted }) => f64::from(u8::from(wanted)),
                    _ => panic!("each context has its own"),
                };
                assert!((share(&p, label) - wanted).abs() < 1e-9, "{context} {label}");
            }
        }
    }
}

#[test]
fn zero_is_never_and_one_is_always() {
    for asked in [[0.0, 0.5, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0]] {
        let constraints = weekday().shares(&asked).expect("they sum to 1");
        let measured =
            Measured::exact(&base(3, 22), &space(22), vec![0], &features(&constraints)).expect("measured");
        let fit = measured.fit(&constraints, &FitConfig::default()).expect("fits");
        let p = space(22).log_scores(&fit.target(base(3, 22)), &0).expect("scores");
        for (label, wanted) in asked.iter().enumerate() {
            assert!((share(&p, label) - wanted).abs() < 1e-9);
        }
        assert!(p.iter().step_by(4).all(|score| *score == f64::NEG_INFINITY));
        // The bound is that of the best allowed label.
        let bound = fit.tilt().log_bound(&0).expect("one context").expect("labels are bounded");
        let factors = (0..22).map(|x| p[x] - log_base(3, 22, 0)[x]).fold(f64::NEG_INFINITY, f64::max);
        assert!((bound - factors).abs() < 1e-12, "{bound} {factors}");
    }
}

#[test]
fn bad_shares_are_named() {
    let category = weekday();
    let message = |shares: &[f64]| category.shares(shares).expect_err("bad").to_string();
    assert!(message(&[0.1, 0.2, 0.3, 0.3]).contains("0.9"), "{}", message(&[0.1, 0.2, 0.3, 0.3]));
    assert!(message(&[0.5, 0.5]).contains("shares of category `rest`"));
    assert!(message(&[-0.1, 0.5, 0.3, 0.3]).contains("share of `a`"));
    assert!(message(&[f64::NAN, 0.5, 0.3, 0.2]).contains("share of `a`"));
    assert_eq!(
        category.shares_named(&[("c", 0.5), ("a", 0.25), ("b", 0.0)]).expect("the rest"),
        [0.25, 0.0, 0.5, 0.25]
    );
    assert!(
        category
            .shares_named(&[("c", 0.5), ("a", 0.75), ("b", 0.0)])
            .expect_err("above 1")
            .to_string()
            .contains("1.25")
    );
    assert!(
        category.shares_named(&[("x", 1.0)]).expect_err("unknown").to_string().contains("a, b, c, other")
    );
    assert!(
        category.shares_named(&[("a", 1.0)]).expect_err("missing").to_string().contains("without label `b`")
    );
    let bad = feature("bad", |_: &usize, x: &usize| *x as f64 / 2.0);
    let bad =
        Category::new(Arc::new(bad), ["p", "q"]).expect("two labels").shares(&[0.5, 0.5]).expect("sums");
    let measured = Measured::exact(&base(1, 9), &space(9), vec![0], &features(&bad)).expect("measured");
    assert!(matches!(measured.fit(&bad, &FitConfig::default()), Err(Error::NotALabel { value: 0.5, .. })));
    let one = feature("one", |_: &usize, _: &usize| 0.0);
    assert!(Category::new(Arc::new(one), ["p"]).is_err());
}

#[test]
fn distances_are_the_sums_by_hand() {
    let weights = |count: usize| ImportanceWeights::from_log(vec![0.0; count]).expect("weights");
    // Shares 0.5, 0.3, 0.2 of ten samples against 0.2, 0.3, 0.5; cumulated 0.5, 0.8 against 0.2, 0.5.
    let labels = vec![0, 0, 0, 0, 0, 1, 1, 1, 2, 2];
    let asked = [0.2, 0.3, 0.5];
    let found = CategoryDistance::new(
        &asked,
        Some(&[0.0, 1.0, 3.0]),
        vec![(weights(10), labels.clone())],
        None,
        ContextErrors::Fixed,
    )
    .expect("labels");
    assert!((found.total_variation.value - 0.3).abs() < 1e-15);
    assert!((found.wasserstein.expect("positions").value - (0.3 + 2.0 * 0.3)).abs() < 1e-15);
    // The error of the mean of s/2, with s = 1, 0, -1: the difference of the second label is rounding or 0.
    let terms: Vec<f64> = labels.iter().map(|label| [0.5, 0.0, -0.5][*label]).collect();
    let centre = terms.iter().sum::<f64>() / 10.0;
    let error = (terms.iter().map(|term| (term - centre).powi(2)).sum::<f64>() / 9.0 / 10.0).sqrt();
    assert!((found.total_variation.std_error - error).abs() < 0.1 * error);
    let bad = CategoryDistance::new(&asked, None, vec![(weights(1), vec![3])], None, ContextErrors::Fixed);
    assert!(bad.is_err());
    let descending = CategoryDistance::new(
        &asked,
        Some(&[0.0, 1.0, 1.0]),
        vec![(weights(1), vec![0])],
        None,
        ContextErrors::Fixed,
    );
    assert!(descending.is_err());
}

/// Where shares differ by far more than their errors, 95% intervals of both distances cover the truth: 300 repetitions, alpha
/// = 1e-4 for each (the least that a binomial of p = 0.95 and n = 300 has with that probability is 268).
#[test]
fn errors_of_distances_cover_the_truth() {
    let asked = [0.6, 0.2, 0.1, 0.1];
    let uniform = space(20).uniform();
    let constraints = weekday().shares(&asked).expect("they sum to 1");
    let mut covered = [0; 2];
    // A uniform base has a quarter of each label: total variation 0.35; cumulated differences 0.35, 0.3, 0.15.
    for seed in 0..300 {
        let mut rng = StreamRng::seed_from_u64(seed);
        let measured =
            Measured::draw(&uniform, vec![0], &features(&constraints), 400, &mut rng).expect("measured");
        let labels =
            measured.values(0).expect("one context").column(0).iter().map(|label| *label as usize).collect();
        let weights = ImportanceWeights::from_log(vec![0.0; 400]).expect("weights");
        let found = CategoryDistance::new(
            &asked,
            Some(&[0.0, 1.0, 2.0, 3.0]),
            vec![(weights, labels)],
            None,
            ContextErrors::Fixed,
        )
        .expect("labels");
        for (covered, (estimate, truth)) in covered
            .iter_mut()
            .zip([(found.total_variation, 0.35), (found.wasserstein.expect("positions"), 0.8)])
        {
            let (low, high) = estimate.interval(1.96);
            *covered += usize::from(low <= truth && truth <= high);
        }
    }
    println!("covered of 300: {covered:?}");
    assert!(covered.iter().all(|count| *count >= 268), "{covered:?}");
}

#[test]
fn categories_are_reported_where_all_labels_are_asked_for() {
    let fit = |constraints: &[disco_ebm::Constraint<usize, usize>]| {
        let measured = Measured::exact(&base(1, 22), &space(22), vec![0], &features(constraints));
        measured.expect("measured").fit(constraints, &FitConfig::default()).expect("fits").report().clone()
    };
    let mut constraints = weekday().shares(&[0.1, 0.2, 0.3, 0.4]).expect("they sum to 1");
    constraints.pop();
    assert!(fit(&constraints).categories.is_empty());
    // Two categories of one feature, with other labels.
    let rest: Arc<dyn disco_core::Feature<usize, usize>> =
        Arc::new(feature("rest", |_: &usize, x: &usize| (x % 4) as f64));
    let category = |labels: &[&str]| Category::new(rest.clone(), labels.iter().copied()).expect("labels");
    let four = category(&["a", "b", "c", "other"]).shares(&[0.1, 0.2, 0.3, 0.4]);
    let five = category(&["p", "q", "r", "s", "t"]).shares(&[0.1, 0.2, 0.3, 0.4, 0.0]);
    let constraints = [four, five].map(|shares| shares.expect("they sum to 1")).concat();
    let report = fit(&constraints);
    let asked: Vec<usize> = report.categories.iter().map(|one| one.asked.len()).collect();
    assert_eq!(asked, [4, 5]);
    assert!(report.categories.iter().all(|one| one.achieved.total_variation.value < 1e-9));
}

#[test]
fn a_label_has_no_other_range() {
    let label = weekday().shares(&[0.1, 0.2, 0.3, 0.4]).expect("they sum to 1").swap_remove(0);
    let error = label.ranged(0.0, 0.5).expect_err("a label").to_string();
    assert!(error.contains("none: it is a label, 0 or 1"), "{error}");
}
