//! Products, powers, rewards, conditions, fixed contexts, and scorers that fail.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use disco_core::{
    Condition, Error, Exponential, Failure, Feature, Mixture, Parallel, PerContext, Product, Scorer,
    ScorerExt, Space, feature, predicate, scorer, try_feature, try_scorer,
};

#[test]
fn an_operator_for_every_type_of_scorer() {
    let even = predicate("even", |_: &(), x: &i32| x % 2 == 0);
    let size = feature("size", |_: &(), x: &i32| f64::from(*x));
    let base = Space::new(0..10).unwrap().uniform();
    let target = base.clone() * Condition::always(even) * Exponential { feature: size, coefficient: 0.5 };
    let exact: f64 = (0..10).step_by(2).map(|x| 0.1 * (0.5 * f64::from(x)).exp()).sum();
    assert!((base.space().log_z(&target, &()).unwrap() - exact.ln()).abs() < 1e-14);
    let tempered = target.power(2.0).unwrap() * scorer(|_: &(), _: &i32| 1.0);
    let exact: f64 =
        (0..10).step_by(2).map(|x| 1f64.exp() * (0.1 * (0.5 * f64::from(x)).exp()).powi(2)).sum();
    assert!((base.space().log_z(&tempered, &()).unwrap() - exact.ln()).abs() < 1e-14);
}

#[test]
fn what_is_already_impossible_is_not_scored_again() {
    let asked = AtomicUsize::new(0);
    let expensive = scorer(|_: &(), _: &i32| {
        asked.fetch_add(1, Ordering::Relaxed);
        -1.0
    });
    let even = Condition::always(predicate("even", |_: &(), x: &i32| x % 2 == 0));
    let target = Product(even, expensive);
    let scores = target.log_scores(&(), &[&0, &1, &2, &3, &5]).unwrap();
    let impossible = Ok(f64::NEG_INFINITY);
    let expected = [Ok(-1.0), impossible.clone(), Ok(-1.0), impossible.clone(), impossible];
    assert_eq!(scores, expected);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_failure_skips_a_sample_or_stops_the_run() {
    let picky = |name: &str| {
        try_scorer(name, |_: &(), x: &i32| match *x {
            0 => Err(Failure::Skip("zero".into())),
            i32::MIN => Err(Failure::Stop("out of memory".into())),
            x => Ok(f64::from(-x)),
        })
    };
    let product = Product(scorer(|_: &(), _: &i32| 1.0), picky("parser"));
    let scores = product.log_scores(&(), &[&1, &0]).unwrap();
    assert_eq!(scores[0], Ok(0.0));
    let skipped = scores[1].as_ref().unwrap_err();
    assert_eq!((skipped.by(), skipped.reason()), ("parser", "zero"));
    // A skip passes through powers, fixed contexts and either side of a product.
    let wrapped = Product(picky("parser").power(2.0).unwrap().given(()), scorer(|_: &(), _: &i32| 1.0));
    assert_eq!(wrapped.log_scores(&(), &[&0, &1]).unwrap(), [Err(skipped.clone()), Ok(-1.0)]);

    let stopped = product.log_scores(&(), &[&1, &i32::MIN]).unwrap_err();
    assert_eq!(stopped.to_string(), "parser failed: out of memory");
    // An exact sum cannot do without the skipped outcome.
    let error = Space::new(0..3).unwrap().log_z(&picky("parser"), &()).unwrap_err();
    assert!(matches!(&error, Error::Failed { .. }), "{error}");

    let fallible = try_feature("ratio", |_: &(), x: &i32| match x {
        0 => Err(Failure::Skip("division by zero".into())),
        1 => Ok(f64::INFINITY),
        x => Ok(1.0 / f64::from(*x)),
    });
    assert_eq!(fallible.values(&(), &[&2, &0]).unwrap()[0], Ok(0.5));
    let error = fallible.values(&(), &[&2, &1]).unwrap_err();
    assert!(matches!(&error, Error::NotANumber { by, index: 1, .. } if by == "ratio"), "{error}");
}

#[test]
fn bad_factors_are_refused() {
    let flat = || scorer(|_: &(), _: &i32| 0.0);
    for exponent in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(flat().power(exponent), Err(Error::Invalid { .. })), "{exponent}");
    }
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-310] {
        let reward = feature("reward", |_: &(), x: &i32| f64::from(*x));
        assert!(matches!(flat().rewarded(reward, beta), Err(Error::Invalid { .. })), "{beta}");
    }
    let length = feature("length", |_: &(), x: &i32| f64::from(*x));
    let condition = Condition::always(length);
    assert!(matches!(condition.log_scores(&(), &[&1, &2]), Err(Error::Invalid { .. })));
}

#[test]
fn a_fixed_context_is_handed_to_scorer_and_feature() {
    let offset = scorer(|context: &i32, x: &i32| f64::from(x - context));
    assert_eq!(offset.given(3).log_scores(&(), &[&5]).unwrap(), [Ok(2.0)]);
    let distance = feature("distance", |context: &i32, x: &i32| f64::from((x - context).abs()));
    let fixed = distance.given(3);
    assert_eq!(fixed.name(), "distance");
    assert_eq!(fixed.values(&(), &[&1]).unwrap(), [Ok(2.0)]);
}

#[test]
fn scorers_and_features_are_shared_behind_pointers() {
    let calls = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&calls);
    let counted: Arc<dyn Feature<(), i32>> = Arc::new(feature("count", move |_: &(), _: &i32| {
        *counter.lock().unwrap() += 1;
        1.0
    }));
    let tilt: Box<dyn Scorer<(), i32>> =
        Box::new(Exponential { feature: Arc::clone(&counted), coefficient: 2.0 });
    assert_eq!(
        (&tilt).times(scorer(|_: &(), _: &i32| -2.0)).log_scores(&(), &[&1, &2]).unwrap(),
        [Ok(0.0), Ok(0.0)]
    );
    assert_eq!(*calls.lock().unwrap(), 2);
}

/// All that a factor can say of a sample.
const SAID: [Result<f64, &str>; 4] = [Ok(f64::NEG_INFINITY), Ok(-0.5), Ok(2.0), Err("unreadable")];

#[test]
fn a_product_does_not_depend_on_the_order_also_where_factors_skip() {
    let says = |name: &'static str, pick: fn(&(usize, usize, usize)) -> usize| {
        try_scorer(name, move |_: &(), x: &(usize, usize, usize)| {
            SAID[pick(x)].map_err(|reason| Failure::Skip(reason.into()))
        })
    };
    let (a, b, c) = (says("a", |x| x.0), says("b", |x| x.1), says("c", |x| x.2));
    let all: Vec<_> = (0..4).flat_map(|i| (0..4).flat_map(move |j| (0..4).map(move |k| (i, j, k)))).collect();
    let samples: Vec<_> = all.iter().collect();
    let scored = |scorer: &dyn Scorer<(), (usize, usize, usize)>| -> Vec<Option<f64>> {
        scorer.log_scores(&(), &samples).unwrap().into_iter().map(Result::ok).collect()
    };
    let expected = scored(&Product(&a, Product(&b, &c)));
    assert_eq!(scored(&Product(Product(&a, &b), &c)), expected);
    assert_eq!(scored(&Product(&c, Product(&b, &a))), expected);
    assert_eq!(scored(&Product(Product(&b, &c), &a)), expected);
    assert_eq!(scored(&Product(&b, Product(&a, &c))), expected);
    for ((i, j, k), found) in all.iter().zip(expected) {
        let said = [*i, *j, *k].map(|said| SAID[said]);
        let expected = if said.contains(&Ok(f64::NEG_INFINITY)) {
            Some(f64::NEG_INFINITY)
        } else {
            said.into_iter().sum::<Result<f64, &str>>().ok()
        };
        assert_eq!(found, expected, "{said:?}");
    }
}

#[test]
fn what_is_no_score_does_not_hide_behind_a_skip() {
    let skips = || try_scorer("skips", |_: &(), _: &i32| Err(Failure::Skip("never".into())));
    let broken = || try_scorer("broken", |_: &(), _: &i32| Ok(f64::NAN));
    for scored in
        [Product(skips(), broken()).log_scores(&(), &[&1]), Product(broken(), skips()).log_scores(&(), &[&1])]
    {
        assert_eq!(scored.unwrap_err().to_string(), "broken gave NaN for sample 0");
    }
}

#[test]
fn what_one_factor_forbids_is_forbidden_whatever_the_other_gives() {
    // A prior over positive numbers, and a likelihood that is none elsewhere.
    let prior = || scorer(|_: &(), x: &f64| if *x > 0.0 { -x } else { f64::NEG_INFINITY });
    for outside in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0] {
        let likelihood =
            || try_scorer("likelihood", move |_: &(), x: &f64| Ok(if *x > 0.0 { x.ln() } else { outside }));
        let expected = [Ok(-1.0), Ok(f64::NEG_INFINITY), Ok(f64::NEG_INFINITY)];
        let samples = [&1.0, &-1.0, &0.0];
        assert_eq!((prior() * likelihood()).log_scores(&(), &samples).unwrap(), expected);
        assert_eq!((likelihood() * prior()).log_scores(&(), &samples).unwrap(), expected);
        // However the factors are grouped.
        let expected = [Ok(-1.0), Ok(f64::NEG_INFINITY), Ok(f64::NEG_INFINITY)];
        let (left, right) =
            ((likelihood() * likelihood()) * prior(), likelihood() * (prior() * likelihood()));
        assert_eq!(left.log_scores(&(), &samples).unwrap(), expected);
        assert_eq!(right.log_scores(&(), &samples).unwrap(), expected);
    }
}

#[test]
fn the_factor_that_gives_no_number_is_named_with_its_sample() {
    let root = || try_scorer("root", |_: &(), x: &f64| Ok(x.ln()));
    let infinite = || try_scorer("pole", |_: &(), x: &f64| Ok(1.0 / x.powi(2)));
    let flat = || Condition::never(predicate("huge", |_: &(), x: &f64| *x > 100.0));
    let refused = |scorer: &dyn Scorer<(), f64>, samples: &[&f64]| {
        scorer.log_scores(&(), samples).unwrap_err().to_string()
    };
    // Sample 0 is forbidden, so that the others have other places among those that are scored.
    let samples = [&1e3, &1.0, &-1.0];
    assert_eq!(refused(&(flat() * root()), &samples), "root gave NaN for sample 2");
    assert_eq!(refused(&(root() * flat()), &samples), "root gave NaN for sample 2");
    assert_eq!(refused(&(flat() * (root() * flat())), &samples), "root gave NaN for sample 2");
    assert_eq!(refused(&((root() * flat()) * flat()), &samples), "root gave NaN for sample 2");
    assert_eq!(refused(&(root().power(2.0).unwrap() * flat()), &samples), "(root)^2 gave NaN for sample 2");
    assert_eq!(refused(&(infinite() * root()), &[&1.0, &0.5, &f64::NAN, &0.0]), "pole gave NaN for sample 2");
    assert_eq!((infinite() * root()).log_scores(&(), &[&0.0]).unwrap(), [Ok(f64::NEG_INFINITY)]);
    let mixture = Mixture::new([(0.5, root()), (0.5, root())]).unwrap();
    assert_eq!(refused(&mixture, &[&1.0, &-1.0]), "root gave NaN for sample 1");
    // A closure is named by its place.
    let closure = scorer(|_: &(), _: &f64| f64::INFINITY);
    let text = refused(&(closure * flat()), &[&1.0]);
    assert!(
        text.starts_with("scorer suite::algebra::the_factor_") && text.ends_with("gave inf for sample 0"),
        "{text}"
    );
}

#[test]
fn finite_scores_stay_finite() {
    let score = |value: f64| scorer(move |_: &(), _: &()| value);
    let one = |scorer: &dyn Scorer<(), ()>| scorer.log_scores(&(), &[&()]).unwrap()[0].clone().unwrap();
    for huge in [f64::MIN, f64::MAX] {
        assert_eq!(one(&(score(huge) * score(huge))), huge);
        assert_eq!(one(&score(huge).power(3.0).unwrap()), huge);
        let feature = feature("huge", move |_: &(), _: &()| huge);
        assert_eq!(one(&Exponential { feature, coefficient: 2.0 }), huge);
    }
    assert_eq!(one(&score(f64::NEG_INFINITY).power(0.5).unwrap()), f64::NEG_INFINITY);
    let size = || feature("size", |_: &(), _: &()| 0.0);
    for coefficient in [f64::NAN, f64::INFINITY] {
        let error = Exponential { feature: size(), coefficient }.log_scores(&(), &[&()]).unwrap_err();
        assert!(error.to_string().starts_with("coefficient of feature `size` is "), "{error}");
    }
}

#[test]
fn hard_constraints_are_known_through_every_combination() {
    let even = predicate("even", |_: &(), x: &i32| x % 2 == 0);
    let (hard, soft) = (Condition::always(even), scorer(|_: &(), x: &i32| f64::from(*x)));
    let known = |scorer: &dyn Scorer<(), i32>| scorer.has_hard_constraints();
    assert!(known(&hard) && !known(&soft));
    assert!(known(&Product(&soft, &hard)) && known(&Product(&hard, &soft)) && !known(&Product(&soft, &soft)));
    assert!(known(&(&hard).power(2.0).unwrap()) && !known(&(&soft).power(2.0).unwrap()));
    assert!(known(&(&hard).given(())) && known(&Arc::new(&hard)) && known(&Box::new(&hard)));
    assert!(known(&Parallel::new(&hard)) && !known(&Parallel::new(&soft)));
    let hard: Box<dyn Scorer<(), i32>> = Box::new(hard);
    let soft: Box<dyn Scorer<(), i32>> = Box::new(soft);
    // A sample that one component forbids may be allowed by the other.
    assert!(!known(&Mixture::new([(0.5, &hard), (0.5, &soft)]).unwrap()));
    assert!(known(&Mixture::new([(0.5, &hard), (0.5, &hard)]).unwrap()));
    assert!(
        known(&PerContext::new([((), &hard)]).unwrap()) && !known(&PerContext::new([((), &soft)]).unwrap())
    );
}

#[test]
fn causes_are_in_the_message_and_printed_once() {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no reward")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let error = Error::failed("reward model", Outer(std::io::Error::other("out of memory")));
    assert_eq!(error.to_string(), "reward model failed: no reward: out of memory");
    let nested = Error::failed("target", error);
    assert_eq!(nested.to_string(), "target failed: reward model failed: no reward: out of memory");
    assert!(std::error::Error::source(&nested).is_none());
}
