//! Construction: every named divergence keeps the contract, is stable, and is read by the name it writes.

use disco_divergence::{Divergence, FDivergence, check};

fn everything() -> Vec<FDivergence> {
    let orders =
        [-3.0, -1.0, -1e-3, -1e-9, 0.0, 1e-9, 0.25, 0.5, 0.75, 1.0 - 1e-9, 1.0, 1.0 + 1e-9, 2.0, 5.0];
    let weights = [1e-6, 0.1, 0.5, 0.9, 1.0 - 1e-6];
    let mut all = FDivergence::NAMED.to_vec();
    all.extend(orders.map(|order| FDivergence::alpha(order).unwrap()));
    all.extend(weights.map(|weight| FDivergence::skewed_kl(weight).unwrap()));
    all.extend(weights.map(|weight| FDivergence::skewed_js(weight).unwrap()));
    all
}

#[test]
fn all_pass_the_check() {
    for divergence in everything() {
        check(&divergence).unwrap();
    }
}

#[test]
fn names_are_read_back() {
    for divergence in everything() {
        assert_eq!(divergence.to_string().parse::<FDivergence>().unwrap(), divergence);
    }
}
