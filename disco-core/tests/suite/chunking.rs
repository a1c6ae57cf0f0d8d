//! Streams: what is drawn and scored depends neither on batches nor on threads.

use disco_core::{
    Continuous, Discrete, Distribution, Empirical, Error, Feature, MarkovChain, MarkovChainConfig, Mixture,
    Parallel, Record, Result, Sampled, Scorer, Space, Streams, feature, scorer,
    statrs::distribution::{Normal, Poisson},
};

const COUNT: usize = 1000;

/// One call, many calls, many threads with small chunks: always the same samples, to the bit.
#[track_caller]
fn same_however_cut<X: Send + Sync + PartialEq + std::fmt::Debug>(distribution: &impl Distribution<(), X>) {
    let streams = Streams::new(31, COUNT);
    let whole = distribution.sample(&(), &streams).unwrap();
    for size in [1, 7, 64, COUNT, usize::MAX] {
        let cut = streams.chunks(size).flat_map(|chunk| distribution.sample(&(), &chunk).unwrap());
        assert_eq!(cut.collect::<Vec<Sampled<X>>>(), whole, "chunks of {size}");
    }
    let values: Vec<&X> = whole.iter().map(|sample| &sample.value).collect();
    let scores = distribution.log_probs(&(), &values).unwrap();
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for chunk in [1, 13, 5000] {
            let parallel = Parallel::with_chunk(distribution, chunk).unwrap();
            pool.install(|| {
                assert_eq!(parallel.sample(&(), &streams).unwrap(), whole, "{threads} threads");
                let each = parallel.sample_each(&[&(), &()], &[streams.clone(), streams.clone()]).unwrap();
                assert!(each.iter().all(|samples| *samples == whole));
                assert_eq!(parallel.log_probs(&(), &values).unwrap(), scores);
                let parallel_scores = parallel.log_scores(&(), &values).unwrap();
                assert_eq!(parallel_scores, distribution.log_scores(&(), &values).unwrap());
            });
        }
    }
}

#[test]
fn every_distribution_gives_the_same_samples_however_it_is_cut() {
    let table = Space::new(0..20).unwrap().uniform();
    same_however_cut(&table);
    same_however_cut(&Discrete(Poisson::new(50.0).unwrap()));
    same_however_cut(&Continuous(Normal::new(0.0, 1.0).unwrap()));
    let chain = MarkovChainConfig {
        symbols: vec!['a', 'b'],
        initial: vec![0.5, 0.5],
        transitions: vec![vec![0.9, 0.1], vec![0.2, 0.8]],
        end: Some('b'),
        max_length: 30,
    };
    same_however_cut(&MarkovChain::new(chain).unwrap());
    let halves: Vec<(f64, Box<dyn Distribution<(), i32>>)> =
        vec![(0.5, Box::new(table.clone())), (0.5, Box::new(Space::new([3, 99]).unwrap().uniform()))];
    let mixture = Mixture::new(halves).unwrap();
    same_however_cut(&mixture);
    same_however_cut(&Mixture::new([(0.25, &mixture), (0.75, &mixture)]).unwrap());
    let log_prob = -(COUNT as f64).ln();
    let records = (0..COUNT).map(|sample| Record { context: (), sample, log_prob });
    let recorded = Empirical::new(records).unwrap();
    same_however_cut(&recorded);
    same_however_cut(&recorded.with_replacement());
}

#[test]
fn features_and_errors_come_in_order() {
    let samples: Vec<usize> = (0..5000).collect();
    let samples: Vec<&usize> = samples.iter().collect();
    let square = feature("square", |_: &(), x: &usize| (*x as f64).powi(2));
    let parallel = Parallel::with_chunk(&square, 7).unwrap();
    assert_eq!(parallel.name(), "square");
    assert_eq!(parallel.values(&(), &samples).unwrap(), square.values(&(), &samples).unwrap());

    // The first NaN in order is reported, at its place in the whole batch.
    let broken = feature("broken", |_: &(), x: &usize| if *x >= 1234 { f64::NAN } else { 0.0 });
    let error = Parallel::with_chunk(broken, 10).unwrap().values(&(), &samples).unwrap_err();
    assert!(matches!(&error, Error::NotANumber { by, index: 1234, .. } if by == "broken"), "{error}");
    assert!(matches!(Parallel::with_chunk(0, 0), Err(Error::Invalid { .. })));
}

#[test]
fn a_scorer_that_loses_a_score_is_found_out() {
    struct Loses;
    impl Scorer<(), u8> for Loses {
        fn log_scores(&self, _: &(), samples: &[&u8]) -> Result<Vec<disco_core::Score>> {
            Ok(vec![Ok(0.0); samples.len().saturating_sub(1)])
        }
    }
    let error = Parallel::with_chunk(Loses, 4).unwrap().log_scores(&(), &[&1; 10]).unwrap_err();
    assert!(matches!(error, Error::Length { expected: 4, actual: 3, .. }), "{error}");
    let product = disco_core::Product(scorer(|_: &(), _: &u8| 0.0), Loses);
    assert!(matches!(product.log_scores(&(), &[&1]), Err(Error::Length { .. })));
}

#[test]
fn selected_and_derived_streams_are_the_streams_they_say() {
    use rand::Rng;
    let streams = Streams::new(8, 10);
    let first = |streams: &Streams, index: usize| streams.rng(index).next_u64();
    let some = streams.select(&[7, 2]);
    assert_eq!((first(&some, 0), first(&some, 1)), (first(&streams, 7), first(&streams, 2)));
    assert_eq!(some, streams.split_at(2).1.select(&[5, 0]));
    assert_eq!(some.split_at(1).1, streams.select(&[2]));
    assert_eq!(streams.select(&[3, 4, 5]), streams.split_at(3).1.split_at(3).0);
    assert_eq!(Streams::numbered(8, 4..6), streams.select(&[4, 5]));
    assert_ne!(streams, streams.child(0));
    assert_ne!(streams.child(0), streams.child(1));
    assert_eq!(streams.child(1).select(&[3]), streams.select(&[3]).child(1));
    let all: Vec<u64> = streams.iter().chain(streams.child(0).iter()).map(|mut rng| rng.next_u64()).collect();
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), 20);
    #[allow(clippy::reversed_empty_ranges)]
    let none = Streams::numbered(8, 6..4);
    assert!(none.is_empty());
}
