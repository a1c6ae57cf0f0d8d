//! Value stability: the same seed gives the same fit. A change here is value-breaking, and belongs in the
//! changelog.

use disco_core::{Space, StreamRng, feature, predicate};
use disco_ebm::{Constraint, FitConfig, FitReport, Measured, features};
use rand::SeedableRng;

fn report() -> FitReport {
    let base = Space::new(0..100u32).expect("distinct").uniform();
    let constraints = [
        Constraint::pointwise(predicate("not seven", |_: &u32, x: &u32| *x != 7)),
        Constraint::moment(predicate("even", |_: &u32, x: &u32| x.is_multiple_of(2)), 0.7).expect("finite"),
        Constraint::moment(feature("size", |c: &u32, x: &u32| f64::from(*x) + f64::from(*c)), 60.0)
            .expect("finite"),
    ];
    let mut rng = StreamRng::seed_from_u64(42);
    let measured =
        Measured::draw(&base, vec![0, 5], &features(&constraints), 1000, &mut rng).expect("measures");
    measured.fit(&constraints, &FitConfig::default()).expect("fits").report().clone()
}

#[test]
fn the_same_seed_gives_the_same_fit() {
    assert_eq!(report(), report());
}

#[test]
fn the_same_seed_gives_the_same_fit_in_every_version() {
    let report = report();
    // Processors differ in whether products and sums are fused, which the last digits show.
    let same = |what: &str, found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-9, "{what}: {found:?}, was {expected:?}");
    };
    let coefficient = |i: usize| report.constraints[i].coefficient.expect("a moment");
    same("coefficient of even", coefficient(1).value, 0.7992222980172033);
    same("its error", coefficient(1).std_error, 0.04696353351465187);
    same("coefficient of size", coefficient(2).value, 0.009341962493593106);
    same("ln Z", report.log_z.value, 1.0104223638160739);
    same("KL", report.kl_from_base.value, 0.10955099441155525);
    same("held-out size", report.constraints[2].held_out.expect("measured").value, 62.314573532988106);
}
