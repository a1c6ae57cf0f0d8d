//! Construction and bad input: every named divergence keeps the contract and is read by the name it writes;
//! names and parameters that do not exist are refused.

use disco_divergence::{Divergence, FDivergence, Order, Weight, check};

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
        assert_eq!(divergence.name(), divergence.to_string());
        let json = serde_json::to_string(&divergence).unwrap();
        assert_eq!(json, format!("\"{divergence}\""));
        assert_eq!(serde_json::from_str::<FDivergence>(&json).unwrap(), divergence);
    }
    assert_eq!(
        format!("{:>6}|{:<5}|", FDivergence::JensenShannon, FDivergence::TotalVariation),
        "    js|tv   |"
    );
}

#[track_caller]
fn refused(name: &str, says: &str) {
    let message = name.parse::<FDivergence>().unwrap_err().to_string();
    assert!(message.contains(says), "{message}");
}

#[test]
fn other_names_and_parameters_are_refused() {
    refused("kl", "no divergence is called `kl`; allowed: forward-kl, reverse-kl, tv");
    refused("", "no divergence is called ``");
    refused("TV", "`TV`");
    refused("alpha", "`alpha`");
    refused("alpha:", "`alpha:`");
    refused("alpha:x", "`alpha:x`");
    refused("beta:1", "`beta:1`");
    refused("alpha:nan", "alpha is NaN; allowed: finite");
    refused("alpha:inf", "alpha is inf");
    refused("skewed-kl:0", "weight of a skewed divergence is 0; allowed: 0 < weight < 1");
    refused("skewed-js:1", "weight of a skewed divergence is 1");
    refused("skewed-js:NaN", "is NaN");
    let error = serde_json::from_str::<FDivergence>("\"alpha:inf\"").unwrap_err();
    assert!(error.to_string().contains("alpha is inf"), "{error}");
}

#[test]
fn limits_are_those_of_the_table() {
    let limit = |name: &str| name.parse::<FDivergence>().unwrap().derivative_at_infinity();
    assert_eq!(limit("forward-kl"), 0.0);
    assert_eq!(limit("reverse-kl"), f64::INFINITY);
    assert_eq!(limit("tv"), 0.5);
    assert!((limit("js") - 0.5 * 2f64.ln()).abs() < 1e-15);
    assert_eq!(limit("chi2-forward"), 0.0);
    assert_eq!(limit("chi2-reverse"), f64::INFINITY);
    assert_eq!(limit("hellinger"), 0.5);
    assert_eq!(limit("alpha:-1"), 0.5);
    assert_eq!(limit("alpha:0.5"), 2.0);
    assert_eq!(limit("alpha:1"), f64::INFINITY);
    assert_eq!(limit("alpha:1.5"), f64::INFINITY);
}

#[test]
fn infinite_log_ratios_have_the_limits() {
    let at = |name: &str, l: f64| name.parse::<FDivergence>().unwrap().generator(l);
    for (name, at_zero) in [
        ("forward-kl", f64::INFINITY),
        ("reverse-kl", 1.0),
        ("tv", 0.5),
        ("js", 0.5 * 2f64.ln()),
        ("chi2-forward", f64::INFINITY),
        ("chi2-reverse", 1.0),
        ("hellinger", 0.5),
        ("jeffreys", f64::INFINITY),
        ("alpha:-2", f64::INFINITY),
        ("alpha:0", f64::INFINITY),
        ("alpha:0.25", 4.0),
        ("alpha:2", 0.5),
        ("skewed-kl:0.5", 2f64.ln() - 0.5),
    ] {
        let found = at(name, f64::NEG_INFINITY);
        assert!(found == at_zero || (found - at_zero).abs() < 1e-15, "{name}: {found}");
        assert_eq!(at(name, f64::INFINITY), f64::INFINITY, "{name}");
        assert_eq!(at(name, 0.0), 0.0, "{name}");
    }
}

#[test]
fn products_keep_their_digits_where_the_weight_is_below_the_normal_numbers() {
    // exp(-740) has 4 binary digits left; its product with f(e^700) is an ordinary number.
    let mut all = FDivergence::NAMED.to_vec();
    all.extend([-1.0, 0.3, 1.5].map(|order| FDivergence::alpha(order).unwrap()));
    all.extend([FDivergence::skewed_kl(0.3).unwrap(), FDivergence::skewed_js(0.2).unwrap()]);
    let mut tested = 0;
    for divergence in &all {
        for l in [-700.0, -600.0, 600.0, 700.0] {
            let (low, high) =
                (divergence.weighted_generator(l, -740.0), divergence.weighted_generator(l, -700.0));
            if low > 1e-290 && high.is_finite() {
                let found = low.ln() - high.ln() + 40.0;
                assert!(found.abs() < 1e-10, "{divergence} at {l}: {found}");
                tested += 1;
            }
        }
    }
    assert!(tested >= 10, "{tested}");
}

#[test]
fn parameters_are_stored_as_numbers_and_checked_when_read() {
    let order: Order = serde_json::from_str("0.5").unwrap();
    assert_eq!((order, serde_json::to_string(&order).unwrap()), (Order::new(0.5).unwrap(), "0.5".into()));
    let weight: Weight = serde_json::from_str("0.25").unwrap();
    assert_eq!(
        (weight, serde_json::to_string(&weight).unwrap()),
        (Weight::new(0.25).unwrap(), "0.25".into())
    );
    assert!(serde_json::from_str::<Weight>("1.0").is_err());
}
