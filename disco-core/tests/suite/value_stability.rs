//! Value stability: what a seed gives today it gives in every version, or the changelog says so.

use disco_core::{
    Contexts, Continuous, Discrete, Distribution, Empirical, MarkovChain, MarkovChainConfig, Mixture, Record,
    Replacement, Space, Streams,
    statrs::distribution::{Normal, Poisson},
};
use rand::Rng;

fn drawn<X>(distribution: &impl Distribution<(), X>) -> Vec<X> {
    let samples = distribution.sample(&(), &Streams::new(42, 8)).unwrap();
    samples.into_iter().map(|sample| sample.value).collect()
}

#[test]
fn the_samples_of_a_key_do_not_change() {
    let words: Vec<u64> = Streams::new(42, 3).iter().map(|mut rng| rng.next_u64()).collect();
    assert_eq!(words, [12578764544318200737, 13222472167927179408, 3387013202841124863]);
    assert_eq!(Streams::new(42, 1).child(5).rng(0).next_u64(), 101637317184940758);
    let die = Space::new(1..=6).unwrap().uniform();
    assert_eq!(drawn(&die), [2, 4, 1, 4, 1, 4, 1, 2]);
    assert_eq!(drawn(&Discrete(Poisson::new(10.0).unwrap())), [15, 7, 8, 11, 9, 7, 9, 8]);
    assert_eq!(
        drawn(&Continuous(Normal::new(0.0, 1.0).unwrap())),
        [
            0.477981238351022,
            0.6190824686529574,
            0.03945938190187611,
            -0.40792278641514484,
            1.7460245333328062,
            -0.23367427049958614,
            -0.29925305182469725,
            -0.7210298260550787
        ]
    );
    let chain = MarkovChain::new(MarkovChainConfig {
        symbols: vec!['a', 'b', '.'],
        initial: vec![0.5, 0.5, 0.0],
        transitions: vec![vec![0.5, 0.3, 0.2], vec![0.3, 0.3, 0.4], vec![0.0, 0.0, 1.0]],
        end: Some('.'),
        max_length: 4,
    });
    let words: Vec<String> = drawn(&chain.unwrap()).into_iter().map(String::from_iter).collect();
    assert_eq!(words, ["a.", "baba", "aaaa", "bb.", "aaaa", "bb.", "ab.", "aabb"]);
    let mixture = Mixture::new([(0.5, die.clone()), (0.5, Space::new(10..20).unwrap().uniform())]).unwrap();
    assert_eq!(drawn(&mixture), [3, 13, 1, 11, 4, 14, 3, 4]);
    let records = (0..8).map(|sample| Record { context: (), sample, log_prob: -8f64.ln() });
    let recorded = Empirical::new(records).unwrap();
    assert_eq!(drawn(&recorded), [4, 7, 1, 2, 6, 3, 5, 0]);
    assert_eq!(drawn(&recorded.with_replacement()), [1, 4, 0, 4, 0, 4, 0, 1]);
}

#[test]
fn the_contexts_of_a_key_do_not_change() {
    let contexts = Contexts::new((0..5).collect()).unwrap();
    assert_eq!(contexts.draw(&Streams::new(42, 8)), [1, 2, 0, 2, 0, 2, 0, 1]);
    assert_eq!(contexts.draw_distinct(&mut Streams::new(42, 1).rng(0), 5).unwrap(), [4, 2, 3, 0, 1]);
    assert_eq!(contexts.order(42, Replacement::Without).unwrap().take(0, 10), [2, 1, 4, 3, 0, 0, 2, 3, 4, 1]);
}
