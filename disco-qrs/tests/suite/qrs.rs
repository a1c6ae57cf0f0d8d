//! Quasi-rejection sampling: distribution, scores, budgets, contexts, and that nothing depends on batches.

use std::ops::ControlFlow;

use disco_core::{Condition, Parallel, PerContext, Product, Space, Table, predicate, scorer, try_scorer};
use disco_qrs::{
    AdaptiveQrs, Budget, Draw, Error, Event, ProposalPool, Qrs, Ratios, Rejection, RunConfig, Sampler,
};

use crate::common::{
    self, LOG_TARGET, all, check_draws, proposal, qrs_probabilities, target, target_probabilities,
};

fn config(seed: u64, budget: Budget) -> RunConfig {
    RunConfig::new(seed, budget)
}

fn exact() -> Ratios {
    Ratios::exact(&LOG_TARGET, proposal().as_log_probs()).unwrap()
}

#[test]
fn samples_have_the_clipped_distribution() {
    // n = 20,000 draws each, level 1e-4.
    for (seed, log_beta) in [-3.0, 2.0, 3.0, 4.5, 7.0].into_iter().enumerate() {
        let mut qrs =
            Qrs::new(proposal(), target(), (), log_beta, config(seed as u64, Budget::draws(20_000))).unwrap();
        let draws = all(&mut qrs);
        assert_eq!(draws.len(), 20_000);
        for draw in draws.iter().take(1_000) {
            let log_proposal = proposal().as_log_probs()[draw.value];
            assert_eq!(draw.log_target, LOG_TARGET[draw.value]);
            assert_eq!(draw.log_proposal, Some(log_proposal));
            assert_eq!(draw.log_score, LOG_TARGET[draw.value].min(log_beta + log_proposal));
        }
        check_draws(draws.iter().map(|draw| draw.value), &qrs_probabilities(log_beta));
        // The acceptance rate that was expected: within four binomial errors.
        let statistics = qrs.statistics();
        let (rate, expected) =
            (statistics.acceptance_rate().unwrap(), exact().acceptance_rate(log_beta).unwrap().value);
        assert!((rate.value - expected).abs() < 4.0 * rate.std_error, "{rate:?} {expected}");
        assert_eq!((statistics.accepted, statistics.draws), (20_000, 20_000));
        assert!(statistics.impossible > 0 && statistics.skipped == 0);
    }
}

fn numbers<X>(draws: &[Draw<X>]) -> Vec<(usize, u64)> {
    draws.iter().map(|draw| (draw.context, draw.proposal)).collect()
}

#[test]
fn batches_and_threads_change_nothing() {
    let run = |batch: usize, budget: Budget| {
        let config = RunConfig { seed: 3, batch, budget };
        let mut qrs = Qrs::new(proposal(), target(), (), 3.0, config).unwrap();
        let draws = all(&mut qrs);
        let mut statistics = qrs.statistics();
        statistics.seconds = 0.0;
        (draws, statistics)
    };
    for budget in [
        Budget::draws(321),
        Budget::proposals(1_234),
        Budget { proposals: Some(999), draws: Some(200), seconds: None },
    ] {
        let expected = run(1, budget);
        for batch in [7, 256, 5_000] {
            assert_eq!(run(batch, budget), expected);
        }
    }
    let parallel = Parallel::with_chunk(proposal(), 3).unwrap();
    let mut qrs = Qrs::new(
        parallel,
        Parallel::with_chunk(target(), 5).unwrap(),
        (),
        3.0,
        config(3, Budget::draws(321)),
    )
    .unwrap();
    assert_eq!(all(&mut qrs), run(256, Budget::draws(321)).0);
}

#[test]
fn values_do_not_change() {
    let mut qrs = Qrs::new(proposal(), target(), (), 3.0, config(1, Budget::draws(12))).unwrap();
    let draws: Vec<(usize, u64)> = all(&mut qrs).iter().map(|draw| (draw.value, draw.proposal)).collect();
    let expected =
        [(1, 0), (6, 1), (1, 2), (6, 3), (0, 5), (1, 6), (4, 7), (6, 8), (0, 15), (7, 16), (0, 17), (4, 18)];
    assert_eq!(draws, expected);
}

#[test]
fn contexts_have_their_own_beta_and_samples() {
    let space = Space::new(0..4usize).unwrap();
    let tables = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25; 4]]
        .map(|probabilities| Table::from_probabilities(space.clone(), &probabilities).unwrap());
    let proposal = PerContext::new(["a", "b", "c"].into_iter().zip(tables)).unwrap();
    let target = scorer(|context: &&str, x: &usize| if *context == "b" { *x as f64 } else { -(*x as f64) });
    let run = |contexts: &[&'static str], log_betas: &[f64], batch: usize| {
        let config = RunConfig {
            seed: 5,
            batch,
            budget: Budget { proposals: Some(3_000), draws: Some(500), seconds: None },
        };
        let mut qrs = Qrs::each(&proposal, &target, contexts.to_vec(), log_betas.to_vec(), config).unwrap();
        let draws = all(&mut qrs);
        let statistics: Vec<u64> =
            (0..contexts.len()).map(|k| qrs.statistics_of(k).unwrap().proposals).collect();
        assert_eq!(statistics.iter().sum::<u64>(), qrs.statistics().proposals);
        assert!(qrs.statistics_of(contexts.len()).is_none());
        (draws, statistics)
    };
    let contexts = ["a", "b", "c"];
    let betas = [1.0, 4.5, 0.5];
    let (draws, proposals) = run(&contexts, &betas, 64);
    // Only the interleaving of equal proposals is fixed: whatever the batch, the order is the same.
    assert_eq!(numbers(&run(&contexts, &betas, 1).0), numbers(&draws));
    assert!(numbers(&draws).is_sorted_by_key(|(context, number)| (*number, *context)));
    let of = |draws: &[Draw<usize>], context: usize| -> Vec<(usize, u64)> {
        draws.iter().filter(|draw| draw.context == context).map(|draw| (draw.value, draw.proposal)).collect()
    };
    // The first two contexts alone give the same.
    let (fewer, _) = run(&contexts[..2], &betas[..2], 64);
    assert_eq!((of(&fewer, 0), of(&fewer, 1)), (of(&draws, 0), of(&draws, 1)));
    for (context, proposals) in proposals.into_iter().enumerate() {
        assert_eq!(of(&draws, context).len(), 500);
        assert!((500..=3_000).contains(&proposals));
    }
}

#[test]
fn rejection_gives_the_target_or_an_error() {
    let bound = exact().largest_log_ratio();
    let mut rejection =
        Rejection::new(proposal(), target(), (), bound, config(2, Budget::draws(20_000))).unwrap();
    let draws = all(&mut rejection);
    check_draws(draws.iter().map(|draw| draw.value), &target_probabilities());
    assert!(draws.iter().all(|draw| draw.log_score == draw.log_target));
    let mut rejection =
        Rejection::new(proposal(), target(), (), bound - 0.1, config(2, Budget::draws(20_000))).unwrap();
    let error = rejection.find_map(Result::err).unwrap();
    assert!(matches!(error, Error::BoundExceeded { log_ratio, .. } if (log_ratio - bound).abs() < 1e-12));
    assert!(rejection.next().is_none());
}

#[test]
fn adaptive_beta_leaves_what_the_final_beta_accepts() {
    let config = config(11, Budget::proposals(4_000));
    let adapted = AdaptiveQrs::new(proposal(), target(), (), -2.0, config).unwrap().run().unwrap();
    assert!((adapted.log_beta - exact().largest_log_ratio()).abs() < 1e-12);
    assert!(adapted.raises > 1);
    let mut fixed = Qrs::new(proposal(), target(), (), adapted.log_beta, config).unwrap();
    assert_eq!(adapted.draws, all(&mut fixed));
    assert_eq!(adapted.statistics.draws, adapted.draws.len() as u64);
    assert_eq!(adapted.statistics.accepted, fixed.statistics().accepted);
    // With a budget of draws, that many survive.
    let adapted =
        AdaptiveQrs::new(proposal(), target(), (), -2.0, RunConfig::new(12, Budget::draws(700))).unwrap();
    let adapted = adapted.run().unwrap();
    assert_eq!((adapted.draws.len(), adapted.statistics.draws), (700, 700));
    // The events tell the same story.
    let mut kept: Vec<(usize, f64)> = vec![];
    let mut adaptive = AdaptiveQrs::new(proposal(), target(), (), -2.0, config).unwrap();
    while let Some(event) = adaptive.next() {
        match event.unwrap() {
            Event::Accepted { draw, threshold } => {
                assert!(threshold > adaptive.log_beta());
                kept.push((draw.value, threshold));
            }
            Event::Raised { log_beta, dropped } => {
                let before = kept.len();
                kept.retain(|(_, threshold)| *threshold > log_beta);
                assert_eq!(before - kept.len(), dropped);
            }
            other => panic!("not an event of this test: {other:?}"),
        }
        assert_eq!(adaptive.statistics().draws, kept.len() as u64);
    }
    let mut fixed = Qrs::new(proposal(), target(), (), adaptive.log_beta(), config).unwrap();
    let values: Vec<usize> = all(&mut fixed).iter().map(|draw| draw.value).collect();
    assert_eq!(kept.iter().map(|(value, _)| *value).collect::<Vec<_>>(), values);
}

#[test]
fn a_pool_accepts_what_a_run_returns() {
    let config = config(21, Budget::proposals(3_000));
    let pool = ProposalPool::draw(proposal(), target(), (), config).unwrap();
    assert_eq!((pool.len(), pool.statistics().proposals), (3_000, 3_000));
    for log_beta in [-1.0, 2.0, 4.0] {
        let mut qrs = Qrs::new(proposal(), target(), (), log_beta, config).unwrap();
        let expected: Vec<(usize, u64, f64)> =
            all(&mut qrs).iter().map(|draw| (draw.value, draw.proposal, draw.log_score)).collect();
        let found: Vec<(usize, u64, f64)> = pool
            .accept(log_beta)
            .unwrap()
            .iter()
            .map(|draw| (*draw.value, draw.proposal, draw.log_score))
            .collect();
        assert_eq!(found, expected);
    }
    assert_eq!(pool.ratios().unwrap().len(), 3_000);
    // A pool per context, as `Qrs::each`.
    let mut batches = 0;
    let pools = ProposalPool::draw_each(proposal(), target(), vec![(), ()], config, |statistics| {
        batches += 1;
        assert!(statistics.proposals <= 6_000);
        ControlFlow::Continue(())
    });
    let pools = pools.unwrap();
    assert_eq!(batches, 12);
    let mut qrs = Qrs::each(proposal(), target(), vec![(), ()], vec![2.0, 3.0], config).unwrap();
    let draws = all(&mut qrs);
    for (context, log_beta) in [2.0, 3.0].into_iter().enumerate() {
        let accepted = pools[context].accept(log_beta).unwrap();
        let numbers: Vec<u64> = accepted.iter().map(|draw| draw.proposal).collect();
        let of_context = draws.iter().filter(|draw| draw.context == context);
        assert_eq!(numbers, of_context.map(|draw| draw.proposal).collect::<Vec<_>>());
    }
    assert_ne!(pools[0].values(), pools[1].values());
}

#[test]
fn budgets_end_runs() {
    let mut qrs = Qrs::new(proposal(), target(), (), 4.0, config(1, Budget::proposals(1_000))).unwrap();
    while qrs.next().is_some() {}
    assert_eq!(qrs.statistics().proposals, 1_000);
    assert!(qrs.next().is_none());
    let seconds = Budget { seconds: Some(0.02), ..Budget::default() };
    let mut qrs = Qrs::new(proposal(), target(), (), 4.0, config(1, seconds)).unwrap();
    assert!(qrs.by_ref().count() > 0);
    assert!(qrs.statistics().seconds >= 0.02 && qrs.statistics().seconds < 10.0);
    // Progress is told after each batch, and can end a run that would accept nothing for ever.
    let never = scorer(|_: &(), _: &usize| f64::NEG_INFINITY);
    let mut told = Vec::new();
    {
        let run = RunConfig { seed: 1, batch: 100, budget: Budget::draws(1) };
        let mut qrs = Qrs::new(proposal(), never, (), 4.0, run).unwrap().on_batch(|statistics| {
            told.push((statistics.proposals, statistics.impossible));
            if statistics.proposals < 500 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert!(qrs.next().is_none());
    }
    assert_eq!(told, [(100, 100), (200, 200), (300, 300), (400, 400), (500, 500)]);
}

#[test]
fn skipped_samples_are_counted_and_left() {
    let target = try_scorer("odd only", |_: &(), x: &usize| {
        if x.is_multiple_of(2) { Err(disco_core::Failure::Skip("even".into())) } else { Ok(0.0) }
    });
    let mut qrs = Qrs::new(proposal(), target, (), -5.0, config(1, Budget::proposals(2_000))).unwrap();
    let draws = all(&mut qrs);
    assert!(!draws.is_empty() && draws.iter().all(|draw| draw.value % 2 == 1));
    assert_eq!(qrs.statistics().skipped + qrs.statistics().accepted, 2_000);
}

#[test]
fn errors_end_a_run_once() {
    let nan = scorer(|_: &(), x: &usize| if *x == 3 { f64::NAN } else { 0.0 });
    let mut qrs =
        Qrs::new(proposal(), nan, (), 0.0, RunConfig { seed: 1, batch: 1, budget: Budget::draws(10_000) })
            .unwrap();
    let last = qrs.by_ref().last().unwrap();
    assert!(last.unwrap_err().to_string().contains("target gave NaN for sample"));
    assert!(qrs.next().is_none());
    let infinite = scorer(|_: &(), _: &usize| f64::INFINITY);
    let mut qrs = Qrs::new(proposal(), infinite, (), 0.0, config(1, Budget::draws(1))).unwrap();
    assert!(qrs.next().unwrap().unwrap_err().to_string().contains("target gave inf for sample 0"));
    let not_binary = Condition::always(disco_core::feature("half", |_: &(), _: &usize| 0.5));
    let mut qrs = Qrs::new(proposal(), not_binary, (), 0.0, config(1, Budget::draws(1))).unwrap();
    assert!(qrs.next().unwrap().is_err() && qrs.next().is_none());
}

#[test]
fn a_constraint_is_met_by_every_sample() {
    let odd = Condition::always(predicate("odd", |_: &(), x: &usize| x % 2 == 1));
    let mut qrs =
        Qrs::new(proposal(), Product(odd, proposal()), (), 0.0, config(1, Budget::draws(3_000))).unwrap();
    let draws = all(&mut qrs);
    // P = q b and beta = 1: plain filtering, exact.
    let filtered: Vec<f64> = proposal()
        .probabilities()
        .iter()
        .enumerate()
        .map(|(x, p)| if x % 2 == 1 { *p } else { 0.0 })
        .collect();
    check_draws(draws.iter().map(|draw| draw.value), &common::normalise(&filtered));
}

#[track_caller]
fn refused(config: RunConfig, log_beta: f64, says: &str) {
    let error = Qrs::new(proposal(), target(), (), log_beta, config).err().unwrap().to_string();
    assert!(error.contains(says), "{error}");
    let error = Rejection::new(proposal(), target(), (), log_beta, config).err().unwrap().to_string();
    assert!(error.contains(says), "{error}");
    let error = AdaptiveQrs::new(proposal(), target(), (), log_beta, config).err().unwrap().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn bad_settings_are_refused() {
    let good = config(1, Budget::draws(1));
    // beta = 0, infinity, a negative number.
    for beta in [0.0f64, f64::INFINITY, -1.0, f64::NAN] {
        refused(good, beta.ln(), "finite: beta is positive and finite");
    }
    refused(RunConfig { batch: 0, ..good }, 0.0, "batch of proposals is 0");
    refused(config(1, Budget::default()), 0.0, "budget is without limit");
    refused(config(1, Budget::draws(0)), 0.0, "draws of a budget is 0");
    refused(config(1, Budget::proposals(0)), 0.0, "proposals of a budget is 0");
    for seconds in [0.0, -1.0, f64::NAN] {
        refused(
            config(1, Budget { seconds: Some(seconds), ..Budget::default() }),
            0.0,
            "seconds of a budget",
        );
    }
    let error = Qrs::each(proposal(), target(), vec![(), ()], vec![0.0], good).err().unwrap().to_string();
    assert!(error.contains("ln beta, one per context: expected 2 values, got 1"), "{error}");
    assert!(
        Qrs::each(proposal(), target(), vec![], vec![], good).err().unwrap().to_string().contains("empty")
    );
    let error = ProposalPool::draw(proposal(), target(), (), good).err().unwrap().to_string();
    assert!(error.contains("draws of a pool's budget is 1"), "{error}");
    let settings: Result<RunConfig, _> = serde_json::from_str(r#"{"sed": 1}"#);
    assert!(settings.unwrap_err().to_string().contains("unknown field `sed`"));
}
