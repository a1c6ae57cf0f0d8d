//! Exact enumeration: spaces, tables, and the sums over them.

use disco_core::{Distribution, Error, Exponential, ScorerExt, Space, Streams, Table, feature, scorer};

#[test]
fn log_z_and_moments_of_a_tilted_die_are_exact() {
    let die = Space::new(1..=6u32).unwrap().uniform();
    let face = feature("face", |_: &(), x: &u32| f64::from(*x));
    let tilted = (&die).times(Exponential { feature: &face, coefficient: 0.5 });
    let expected: f64 = (1..=6).map(|x| (0.5 * f64::from(x)).exp() / 6.0).sum();
    assert!((die.space().log_z(&tilted, &()).unwrap() - expected.ln()).abs() < 1e-14);
    let mean: f64 = (1..=6).map(|x| f64::from(x) * (0.5 * f64::from(x)).exp() / 6.0).sum::<f64>() / expected;
    let table = die.space().normalise(&tilted, &()).unwrap();
    assert!((table.moments(&[&face], &()).unwrap()[0] - mean).abs() < 1e-14);
}

#[test]
fn a_table_draws_each_outcome_as_often_as_it_should() {
    // Pearson's chi-squared with 7 degrees of freedom, n = 100,000, alpha = 1e-4: critical value 29.88.
    let weights = [0.0f64, 1.0, 2.0, 3.0, 4.0, 0.01, 5.0, 100.0, 0.5];
    let space = Space::new(0..weights.len()).unwrap();
    let table = Table::from_log_scores(space, weights.iter().map(|w| w.ln()).collect()).unwrap();
    let samples = table.sample(&(), &Streams::new(11, 100_000)).unwrap();
    let mut counts = [0.0f64; 9];
    for sample in &samples {
        counts[sample.value] += 1.0;
        assert_eq!(sample.log_prob, table.log_prob(&sample.value));
    }
    assert_eq!(counts[0], 0.0);
    let chi2: f64 = (1..9)
        .map(|i| {
            let expected = 100_000.0 * table.probabilities()[i];
            (counts[i] - expected).powi(2) / expected
        })
        .sum();
    assert!(chi2 < 29.88, "chi-squared {chi2}");
}

#[test]
fn sequences_are_enumerated_in_lexicographic_order() {
    let space = Space::sequences(&['a', 'b'], 2).unwrap();
    let words: Vec<String> = space.outcomes().iter().map(|word| word.iter().collect()).collect();
    assert_eq!(words, ["aa", "ab", "ba", "bb"]);
    assert!(Space::sequences(&['a', 'b'], 200).is_err());
}

#[test]
fn bad_spaces_and_tables_are_refused() {
    assert!(matches!(Space::<u8>::new([]), Err(Error::Empty { .. })));
    let twice = Space::new(["a", "b", "a"]).unwrap_err().to_string();
    assert_eq!(twice, "outcome 2 of a space is the same as outcome 0; allowed: distinct outcomes");
    let space = || Space::new([0, 1]).unwrap();
    assert!(matches!(Table::from_log_scores(space(), vec![0.0]), Err(Error::Length { .. })));
    assert!(matches!(Table::from_log_scores(space(), vec![0.0, f64::NAN]), Err(Error::NotANumber { .. })));
    assert!(matches!(
        Table::from_log_scores(space(), vec![0.0, f64::INFINITY]),
        Err(Error::NotANumber { .. })
    ));
    let nothing = vec![f64::NEG_INFINITY; 2];
    assert!(matches!(Table::from_log_scores(space(), nothing), Err(Error::ZeroWeights { count: 2 })));
    for bad in [[0.5, 0.4], [1.5, -0.5], [f64::NAN, 1.0]] {
        assert!(matches!(Table::from_probabilities(space(), &bad), Err(Error::Invalid { .. })), "{bad:?}");
    }
    let nan = scorer(|_: &(), _: &i32| f64::NAN);
    assert!(matches!(space().log_z(&nan, &()), Err(Error::NotANumber { .. })));
}
