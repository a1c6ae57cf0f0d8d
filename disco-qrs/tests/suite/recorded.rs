//! Proposals that were drawn by another engine: all of them are used, and what cannot be scored counts.

use disco_core::{Empirical, Failure, Given, Parallel, Record, ScorerExt, scorer, try_scorer};
use disco_qrs::{AdaptiveQrs, Budget, ProposalPool, Qrs, RunConfig, Sampler};

const RECORDS: usize = 1000;

fn recorded() -> Empirical<u8, usize> {
    let record = |sample| Record { context: 7, sample, log_prob: -(RECORDS as f64).ln() };
    Empirical::new((0..RECORDS).map(record)).unwrap()
}

#[test]
fn a_budget_that_the_records_cannot_meet_uses_all_of_them() {
    // 1,000 records are three batches of 256 and 232 more.
    let target = scorer(|_: &u8, _: &usize| 0.0);
    let log_beta = (RECORDS as f64).ln();
    for budget in [Budget::draws(5000), Budget { seconds: Some(60.0), ..Budget::default() }] {
        let mut qrs = Qrs::new(recorded(), &target, 7, log_beta, RunConfig::new(3, budget)).unwrap();
        let mut drawn: Vec<usize> = qrs.by_ref().map(|draw| draw.unwrap().value).collect();
        assert_eq!(qrs.statistics().proposals, RECORDS as u64);
        drawn.sort_unstable();
        assert_eq!(drawn, (0..RECORDS).collect::<Vec<_>>());
    }
    // Wrapped, too.
    let wrapped: Given<_, u8> = Parallel::new(recorded()).given(7u8);
    let target = scorer(|_: &(), _: &usize| 0.0);
    let adaptive =
        AdaptiveQrs::new(wrapped, &target, (), 0.0, RunConfig::new(3, Budget::draws(5000))).unwrap();
    assert_eq!(adaptive.run().unwrap().statistics.proposals, RECORDS as u64);
    // With replacement there is no end.
    let target = scorer(|_: &u8, _: &usize| 0.0);
    let endless = recorded().with_replacement();
    let qrs = Qrs::new(endless, &target, 7, log_beta, RunConfig::new(3, Budget::draws(5000))).unwrap();
    assert_eq!(qrs.count(), 5000);
    // A context without records is an error still.
    let mut unknown =
        Qrs::new(recorded(), &target, 8, log_beta, RunConfig::new(3, Budget::draws(5))).unwrap();
    assert!(unknown.next().unwrap().is_err());
    assert!(unknown.next().is_none());
}

#[test]
fn proposals_that_cannot_be_scored_count_as_impossible_ones() {
    let skips = try_scorer("parser", |_: &u8, x: &usize| match x % 4 {
        0 => Err(Failure::Skip("unreadable".into())),
        _ => Ok(0.0),
    });
    let forbids = scorer(|_: &u8, x: &usize| if x.is_multiple_of(4) { f64::NEG_INFINITY } else { 0.0 });
    let config = RunConfig::new(3, Budget::proposals(RECORDS as u64));
    let skipped = ProposalPool::draw(recorded(), skips, 7, config).unwrap();
    let forbidden = ProposalPool::draw(recorded(), forbids, 7, config).unwrap();
    let log_beta = (RECORDS as f64).ln();
    for pool in [&skipped, &forbidden] {
        let ratios = pool.ratios().unwrap();
        assert!((ratios.acceptance_rate(log_beta).unwrap().value - 0.75).abs() < 1e-12);
        assert!((ratios.log_z().value - 750f64.ln()).abs() < 1e-12);
        assert_eq!(pool.accept(log_beta).unwrap().len(), 750);
    }
    let (skipped, forbidden) = (skipped.statistics(), forbidden.statistics());
    assert_eq!((skipped.skipped, skipped.impossible), (250, 0));
    assert_eq!((forbidden.skipped, forbidden.impossible), (0, 250));
}
