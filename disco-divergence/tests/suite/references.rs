//! Outside references: generators and derivatives against mpmath, for log-ratios from 1e-12 to 700
//! (reference/generators.py writes the file).

use std::collections::BTreeMap;

use disco_divergence::{Divergence, FDivergence};

/// Rounding of an `exp` of up to 3500 is 3500 units in the last place of 1: 8e-13.
const RELATIVE: f64 = 2e-12;

fn references() -> (Vec<f64>, BTreeMap<String, serde_json::Value>) {
    let json: serde_json::Value = serde_json::from_str(include_str!("reference/generators.json")).unwrap();
    let family = serde_json::from_value(json["family"].clone()).unwrap();
    (serde_json::from_value(json["log_ratios"].clone()).unwrap(), family)
}

fn column(rows: &serde_json::Value, name: &str) -> Vec<f64> {
    serde_json::from_value(rows[name].clone()).unwrap()
}

#[test]
fn generators_agree_with_mpmath() {
    let (log_ratios, family) = references();
    assert_eq!(family.len(), 33);
    for (name, rows) in &family {
        let divergence: FDivergence = name.parse().unwrap();
        for (&l, log_expected) in log_ratios.iter().zip(column(rows, "log_generator")) {
            // The weight brings every value, also those beyond f64, to 1.
            let found = divergence.weighted_generator(l, -log_expected);
            assert!((found - 1.0).abs() < RELATIVE, "{name} at {l}: {found}, ln f = {log_expected}");
            let (found, expected) = (divergence.generator(l), log_expected.exp());
            let same = found == expected || (found - expected).abs() < RELATIVE * expected;
            assert!(same, "{name} at {l}: {found}, expected {expected}");
        }
    }
}

#[test]
fn derivatives_agree_with_mpmath() {
    let (log_ratios, family) = references();
    // The derivatives beyond f64, whose product with a weight is formed in log space.
    let products = ["forward-kl", "chi2", "hellinger", "alpha"];
    for (name, rows) in &family {
        let divergence: FDivergence = name.parse().unwrap();
        let (logs, signs) = (column(rows, "log_abs_derivative"), column(rows, "derivative_sign"));
        for ((&l, log_expected), sign) in log_ratios.iter().zip(logs).zip(signs) {
            let found = divergence.derivative(l) * sign;
            let expected = log_expected.exp();
            let same = found == expected || (found - expected).abs() < RELATIVE * expected;
            assert!(same, "{name} at {l}: {found}, expected {expected}");
            if products.iter().any(|product| name.starts_with(product)) {
                let found = divergence.weighted_derivative(l, -log_expected) * sign;
                assert!((found - 1.0).abs() < RELATIVE, "{name} at {l}: {found}");
            }
        }
    }
}
