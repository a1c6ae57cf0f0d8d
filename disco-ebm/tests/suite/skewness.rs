//! The skewness of reported moments is that of the terms they are sums of, and none where there is none.

use disco_core::{Space, StreamRng, Table, feature, predicate};
use disco_ebm::{Constraint, ContextErrors, FitConfig, Measured, features};
use rand::SeedableRng;

fn base() -> Table<u32> {
    Space::new(0..20u32).expect("distinct").uniform()
}

fn constraints() -> [Constraint<u32, u32>; 2] {
    let cube = feature("cube", |c: &u32, x: &u32| f64::from(*x + c).powi(3));
    [
        Constraint::pointwise(predicate("not seven", |_: &u32, x: &u32| *x != 7)),
        Constraint::moment(cube, 2500.0).expect("finite"),
    ]
}

fn measured(contexts: Vec<u32>) -> Measured<u32, u32> {
    let mut rng = StreamRng::seed_from_u64(3);
    Measured::draw(&base(), contexts, &features(&constraints()), 400, &mut rng).expect("measures")
}

/// `sum t^3 / (sum t^2)^(3/2)`.
fn skewness(terms: &[f64]) -> f64 {
    let squares: f64 = terms.iter().map(|term| term * term).sum();
    terms.iter().map(|term| term.powi(3)).sum::<f64>() / squares.powf(1.5)
}

#[test]
fn it_is_that_of_the_terms() {
    let measured = measured(vec![0, 1, 2]).with_context_weights(&[1.0, 2.0, 3.0]).expect("weights");
    let (mut base_terms, mut terms, mut means) = (Vec::new(), Vec::new(), Vec::new());
    let fit = measured.fit(&constraints(), &FitConfig::default()).expect("fits");
    let lambda = fit.report().constraints[1].coefficient.expect("a moment").value;
    for context in 0..3 {
        let share = (context + 1) as f64 / 6.0;
        let values = measured.values(context).expect("there");
        let tilted = |i: usize| values[[i, 0]] * (lambda * values[[i, 1]]).exp();
        let add = |terms: &mut Vec<f64>, weight: &dyn Fn(usize) -> f64| {
            let sum: f64 = (0..400).map(weight).sum();
            let mean = (0..400).map(|i| weight(i) / sum * values[[i, 1]]).sum::<f64>();
            terms.extend((0..400).map(|i| share * weight(i) / sum * (values[[i, 1]] - mean)));
            mean
        };
        add(&mut base_terms, &|_| 1.0);
        means.push((share, add(&mut terms, &tilted)));
    }
    let close = |found: Option<f64>, expected: f64| {
        let found = found.expect("there is one");
        assert!((found - expected).abs() < 1e-10, "{found} {expected}");
    };
    let report = fit.report();
    close(report.constraints[1].base_skewness, skewness(&base_terms));
    close(report.constraints[1].achieved_skewness, skewness(&terms));
    let assessed = measured.assess(fit.tilt(), ContextErrors::Fixed).expect("supported");
    assert_eq!(assessed.skewness[1], report.constraints[1].achieved_skewness);
    // Of contexts that were drawn, each is a term.
    let drawn = measured.assess(fit.tilt(), ContextErrors::Drawn).expect("supported");
    let mean: f64 = means.iter().map(|(share, mean)| share * mean).sum();
    let between: Vec<f64> = means.iter().map(|(share, of_context)| share * (of_context - mean)).collect();
    close(drawn.skewness[1], skewness(&between));
}

#[test]
fn there_is_none_where_nothing_varies_or_sums_are_exact() {
    let fit = measured(vec![0, 1]).fit(&constraints(), &FitConfig::default()).expect("fits");
    let [pointwise, moment] = &fit.report().constraints[..] else { panic!("two constraints") };
    // All of the target's samples satisfy it, but for rounding.
    assert_eq!(pointwise.achieved_skewness, None);
    assert!(
        pointwise.base_skewness.is_some_and(|skewness| skewness < 0.0) && moment.achieved_skewness.is_some()
    );
    let exact =
        Measured::exact(&base(), base().space(), vec![0], &features(&constraints())).expect("measures");
    let exact = exact.fit(&constraints(), &FitConfig::default()).expect("fits");
    for constraint in &exact.report().constraints {
        assert_eq!((constraint.base_skewness, constraint.achieved_skewness), (None, None));
    }
    assert!(exact.report().warnings().is_empty());
}
