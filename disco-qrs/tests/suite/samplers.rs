//! The samplers to compare with have the distributions that they should have: exactly known ones.

use disco_core::{Error as CoreError, StreamRng, scorer};
use disco_qrs::{
    Budget, ChainConfig, Draw, ImportanceResampling, IndependentMh, LocalMove, RandomWalk, RandomWalkConfig,
    ResamplingConfig, RunConfig, Sampler,
};
use rand::RngExt;

use crate::common::{
    LOG_TARGET, OUTCOMES, all, check_draws, normalise, proposal, target, target_probabilities,
};

const DRAWS: u64 = 20_000;

fn config(seed: u64) -> RunConfig {
    RunConfig::new(seed, Budget::draws(DRAWS))
}

fn walks(chains: usize, chain: ChainConfig) -> RandomWalkConfig {
    RandomWalkConfig { chains, chain }
}

fn pools(pool_size: usize, draws_per_pool: usize) -> ResamplingConfig {
    ResamplingConfig { pool_size, draws_per_pool }
}

/// The distribution of a chain after `steps` moves by `kernel(from, to)`, from the proposal restricted to the
/// target's support.
fn after(steps: u64, kernel: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    let probabilities = proposal().probabilities().to_vec();
    let start: Vec<f64> =
        (0..OUTCOMES).map(|x| if LOG_TARGET[x].is_finite() { probabilities[x] } else { 0.0 }).collect();
    let mut state = normalise(&start);
    for _ in 0..steps {
        state =
            (0..OUTCOMES).map(|to| (0..OUTCOMES).map(|from| state[from] * kernel(from, to)).sum()).collect();
    }
    state
}

/// Metropolis-Hastings' kernel from proposal probabilities `k(from, to)`.
fn metropolis(k: impl Fn(usize, usize) -> f64) -> impl Fn(usize, usize) -> f64 {
    let moves = move |from: usize, to: usize| {
        let log_ratio = LOG_TARGET[to] - LOG_TARGET[from] + k(to, from).ln() - k(from, to).ln();
        if k(from, to) > 0.0 && LOG_TARGET[to].is_finite() {
            k(from, to) * log_ratio.exp().min(1.0)
        } else {
            0.0
        }
    };
    move |from, to| {
        // From where the target has nothing there is no chain.
        if !LOG_TARGET[from].is_finite() {
            0.0
        } else if from == to {
            1.0 - (0..OUTCOMES).filter(|other| *other != from).map(|other| moves(from, other)).sum::<f64>()
        } else {
            moves(from, to)
        }
    }
}

#[test]
fn independent_chains_have_the_distribution_after_their_steps() {
    let probabilities = proposal().probabilities().to_vec();
    for steps in [1, 3, 40] {
        let chain = ChainConfig { burn_in: steps - 1, thin: 1, restart: true };
        let mut sampler = IndependentMh::new(proposal(), target(), (), chain, config(steps)).unwrap();
        let draws = all(&mut sampler);
        let expected = after(steps, metropolis(|_, to| probabilities[to]));
        check_draws(draws.iter().map(|draw| draw.value), &expected);
        assert_eq!(sampler.statistics().draws, DRAWS);
    }
    // In the long run, the target.
    let far = after(2_000, metropolis(|_, to| probabilities[to]));
    assert!(far.iter().zip(target_probabilities()).all(|(one, two)| (one - two).abs() < 1e-9));
}

/// One up with probability 0.7, one down with 0.3, on a ring; two steps, since one outcome is impossible.
fn uneven(from: usize, to: usize) -> f64 {
    match (to + OUTCOMES - from) % OUTCOMES {
        1 => 0.4,
        7 => 0.2,
        2 => 0.3,
        6 => 0.1,
        _ => 0.0,
    }
}

fn walk(_: &(), from: &usize, rng: &mut StreamRng) -> Result<LocalMove<usize>, CoreError> {
    let uniform: f64 = rng.random();
    let by = match uniform {
        u if u < 0.4 => 1,
        u if u < 0.6 => 7,
        u if u < 0.9 => 2,
        _ => 6,
    };
    let to = (from + by) % OUTCOMES;
    Ok(LocalMove { value: to, log_ratio: uneven(to, *from).ln() - uneven(*from, to).ln() })
}

#[test]
fn random_walks_have_the_distribution_after_their_steps() {
    for steps in [1, 4, 60] {
        let chain = ChainConfig { burn_in: 0, thin: steps, restart: true };
        let mut sampler =
            RandomWalk::new(proposal(), walk, target(), (), walks(50, chain), config(steps)).unwrap();
        let draws = all(&mut sampler);
        check_draws(draws.iter().map(|draw| draw.value), &after(steps, metropolis(uneven)));
        assert!(
            draws.iter().all(|draw| draw.log_score == LOG_TARGET[draw.value] && draw.log_proposal.is_none())
        );
    }
    let far = after(5_000, metropolis(uneven));
    assert!(far.iter().zip(target_probabilities()).all(|(one, two)| (one - two).abs() < 1e-9));
}

#[test]
fn resampling_has_the_distribution_of_its_pool() {
    // Pools of two: sum over both proposals of q(x) q(y) w(x) / (w(x) + w(y)), twice.
    let probabilities = proposal().probabilities().to_vec();
    let weight = |x: usize| LOG_TARGET[x].exp() / probabilities[x];
    let expected: Vec<f64> = (0..OUTCOMES)
        .map(|x| {
            let share = |y: usize| if weight(x) > 0.0 { weight(x) / (weight(x) + weight(y)) } else { 0.0 };
            2.0 * probabilities[x] * (0..OUTCOMES).map(|y| probabilities[y] * share(y)).sum::<f64>()
        })
        .collect();
    let mut sampler = ImportanceResampling::new(proposal(), target(), (), pools(2, 1), config(1)).unwrap();
    let draws = all(&mut sampler);
    check_draws(draws.iter().map(|draw| draw.value), &normalise(&expected));
    // Large pools: the target, up to 1/pool.
    let mut sampler = ImportanceResampling::new(proposal(), target(), (), pools(500, 1), config(2)).unwrap();
    check_draws(all(&mut sampler).iter().map(|draw| draw.value), &target_probabilities());
    assert_eq!(sampler.statistics().proposals, 500 * DRAWS);
    assert_eq!(sampler.statistics().efficiency(), Some(1.0 / 500.0));
    // Several draws of each pool, and a budget that ends inside one.
    let budget = Budget { proposals: Some(1_050), draws: Some(27), seconds: None };
    let mut sampler =
        ImportanceResampling::new(proposal(), target(), (), pools(100, 4), RunConfig::new(3, budget))
            .unwrap();
    assert_eq!(all(&mut sampler).len(), 27);
    assert_eq!(sampler.statistics().proposals, 700);
}

#[test]
fn one_trait_serves_all_and_batches_change_nothing() {
    let run = |batch: usize| -> Vec<(&'static str, Vec<Draw<usize>>)> {
        let config = RunConfig { seed: 9, batch, budget: Budget::proposals(600) };
        let chain = ChainConfig { burn_in: 2, thin: 3, restart: false };
        let samplers: Vec<Box<dyn Sampler<usize>>> = vec![
            Box::new(ImportanceResampling::new(proposal(), target(), (), pools(25, 2), config).unwrap()),
            Box::new(IndependentMh::new(proposal(), target(), (), chain, config).unwrap()),
            Box::new(RandomWalk::new(proposal(), walk, target(), (), walks(10, chain), config).unwrap()),
        ];
        samplers
            .into_iter()
            .map(|mut sampler| {
                let draws: Vec<Draw<usize>> = sampler.by_ref().map(|draw| draw.unwrap()).collect();
                assert_eq!(sampler.statistics().draws, draws.len() as u64);
                assert_eq!(sampler.statistics().proposals, 600);
                (sampler.name(), draws)
            })
            .collect()
    };
    let expected = run(1);
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["sir", "independent-mh", "random-walk-mh"]);
    assert_eq!(expected[0].1.len(), 48);
    assert!(expected.iter().all(|(_, draws)| draws.len() > 40));
    assert_eq!(run(37), expected);
    assert_eq!(run(1_000), expected);
}

#[test]
fn default_settings_are_in_range() {
    assert!(RandomWalkConfig::default().validate().is_ok() && ResamplingConfig::default().validate().is_ok());
    let read: ResamplingConfig = serde_json::from_str(r#"{"pool_size": 7}"#).unwrap();
    assert_eq!(read, pools(7, 1));
    let walk: RandomWalkConfig = serde_json::from_str(r#"{"chain": {"thin": 3}}"#).unwrap();
    assert_eq!(walk, walks(1, ChainConfig { thin: 3, ..ChainConfig::default() }));
    assert!(serde_json::from_str::<ResamplingConfig>(r#"{"pool": 7}"#).is_err());
}

#[test]
fn bad_settings_and_moves_are_refused() {
    let chain = ChainConfig { thin: 0, ..ChainConfig::default() };
    let error = IndependentMh::new(proposal(), target(), (), chain, config(1)).err().unwrap().to_string();
    assert!(error.contains("thin is 0"), "{error}");
    let chain = ChainConfig::default();
    let error = RandomWalk::new(proposal(), walk, target(), (), walks(0, chain), config(1))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("number of chains is 0"), "{error}");
    let error = ImportanceResampling::new(proposal(), target(), (), pools(0, 1), config(1))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("pool of proposals is 0"), "{error}");
    let error = ImportanceResampling::new(proposal(), target(), (), pools(1, 0), config(1))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("draws per pool is 0"), "{error}");
    let error = ImportanceResampling::new(proposal(), target(), (), pools(3, 4), config(1))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("draws per pool is 4; allowed: at most the pool of 3"), "{error}");
    for bad in [f64::NAN, f64::INFINITY] {
        let local =
            move |_: &(), from: &usize, _: &mut StreamRng| Ok(LocalMove { value: *from, log_ratio: bad });
        let mut sampler =
            RandomWalk::new(proposal(), local, target(), (), walks(3, chain), config(1)).unwrap();
        let error = sampler.find_map(Result::err).unwrap().to_string();
        assert!(error.contains("local proposal gave"), "{error}");
        assert!(sampler.next().is_none());
    }
    let nan = scorer(|_: &(), _: &usize| f64::NAN);
    let mut sampler = RandomWalk::new(proposal(), walk, nan, (), walks(3, chain), config(1)).unwrap();
    assert!(sampler.next().unwrap().unwrap_err().to_string().contains("target gave NaN"));
    let mut sampler = IndependentMh::new(proposal(), nan, (), chain, config(1)).unwrap();
    assert!(sampler.next().unwrap().unwrap_err().to_string().contains("target gave NaN"));
}
