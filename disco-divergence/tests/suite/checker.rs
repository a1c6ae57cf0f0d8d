//! The checker finds each way in which a user's divergence can be wrong, and passes what is right.

use std::borrow::Cow;

use disco_divergence::{Divergence, Error, FDivergence, Property, check};

/// Squared Hellinger, with one part replaced.
#[derive(Debug)]
struct Mine {
    generator: fn(f64) -> f64,
    derivative: fn(f64) -> f64,
    limit: f64,
    weighted: Option<fn(f64, f64) -> f64>,
}

impl Divergence for Mine {
    fn name(&self) -> Cow<'static, str> {
        "mine".into()
    }

    fn generator(&self, l: f64) -> f64 {
        (self.generator)(l)
    }

    fn derivative(&self, l: f64) -> f64 {
        (self.derivative)(l)
    }

    fn derivative_at_infinity(&self) -> f64 {
        self.limit
    }

    fn weighted_derivative(&self, l: f64, log_weight: f64) -> f64 {
        match self.weighted {
            Some(weighted) => weighted(l, log_weight),
            None if log_weight == f64::NEG_INFINITY => 0.0,
            None => log_weight.exp() * self.derivative(l),
        }
    }
}

fn hellinger() -> Mine {
    Mine {
        generator: |l| (l / 2.0).exp_m1().powi(2) / 2.0,
        derivative: |l| -0.5 * (-l / 2.0).exp_m1(),
        limit: 0.5,
        weighted: None,
    }
}

#[track_caller]
fn broken(mine: Mine, expected: Property) {
    match check(&mine).unwrap_err() {
        Error::Broken { property, name, .. } => assert_eq!((property, name.as_str()), (expected, "mine")),
        other => panic!("{other}"),
    }
}

#[test]
fn a_right_divergence_passes() {
    check(&hellinger()).unwrap();
    // f' up to a constant, as the trait allows.
    check(&Mine { derivative: |l| 3.0 - 0.5 * (-l / 2.0).exp_m1(), limit: 3.5, ..hellinger() }).unwrap();
    check(&(Box::new(FDivergence::TotalVariation) as Box<dyn Divergence>)).unwrap();
}

#[test]
fn nan_is_found() {
    // 0 * inf at l = -inf.
    let generator = |l: f64| l.exp() * l - l.exp_m1();
    broken(Mine { generator, derivative: |l| l, limit: f64::INFINITY, weighted: None }, Property::Number);
}

#[test]
fn a_value_at_one_is_found() {
    broken(Mine { generator: |l| 1e-9 + l.exp_m1().powi(2), ..hellinger() }, Property::ZeroAtOne);
}

#[test]
fn another_linear_part_is_found() {
    // Right as a divergence, but f'(1) = 1.
    let generator = |l: f64| (l / 2.0).exp_m1().powi(2) / 2.0 + l.exp_m1();
    broken(Mine { generator, ..hellinger() }, Property::NonNegative);
    let generator = |l: f64| (l / 2.0).exp_m1().powi(2) / 2.0 + 1e-3 * l.exp_m1().max(0.0);
    broken(Mine { generator, ..hellinger() }, Property::Derivative);
}

#[test]
fn concave_parts_are_found() {
    let derivative = |l: f64| -0.5 * (-l / 2.0).exp_m1() + if l.is_finite() { 1e-3 * l.sin() } else { 0.0 };
    broken(Mine { derivative, ..hellinger() }, Property::Convex);
}

#[test]
fn a_wrong_derivative_is_found() {
    broken(
        Mine { derivative: |l| -0.505 * (-l / 2.0).exp_m1(), limit: 0.505, ..hellinger() },
        Property::Derivative,
    );
}

#[test]
fn a_wrong_limit_is_found() {
    broken(Mine { limit: 1.0, ..hellinger() }, Property::DerivativeAtInfinity);
    broken(Mine { limit: f64::INFINITY, ..hellinger() }, Property::DerivativeAtInfinity);
    broken(
        Mine {
            generator: |l| l.exp_m1().powi(2),
            derivative: |l| 2.0 * l.exp_m1(),
            limit: 9.0,
            weighted: None,
        },
        Property::DerivativeAtInfinity,
    );
    // Bounded, yet said to be infinite, at infinity too.
    broken(
        Mine {
            derivative: |l| if l == f64::INFINITY { l } else { -0.5 * (-l / 2.0).exp_m1() },
            limit: f64::INFINITY,
            ..hellinger()
        },
        Property::DerivativeAtInfinity,
    );
}

#[test]
fn wrong_products_are_found() {
    let without_weight = |l: f64, _| -0.5 * (-l / 2.0f64).exp_m1();
    broken(Mine { weighted: Some(without_weight), ..hellinger() }, Property::WeightedDerivative);
    let nan_at_zero =
        |l: f64, log_weight: f64| -0.5 * (-l / 2.0f64).exp_m1() * (log_weight - log_weight).exp();
    broken(Mine { weighted: Some(nan_at_zero), ..hellinger() }, Property::WeightedDerivative);
}
