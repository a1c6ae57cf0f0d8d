//! The numbers below ten, all alike: what bad input is tried on.

use disco_core::{Feature, Space, StreamRng, Table, predicate};
use disco_ebm::{Constraint, Measured, features};
use rand::SeedableRng;

pub(crate) fn uniform() -> Table<u32> {
    Space::new(0..10u32).expect("distinct").uniform()
}

pub(crate) fn below(limit: u32) -> impl Feature<(), u32> {
    predicate(format!("below {limit}"), move |_: &(), x: &u32| *x < limit)
}

pub(crate) fn moment(limit: u32, target: f64) -> Constraint<(), u32> {
    Constraint::moment(below(limit), target).expect("finite")
}

pub(crate) fn rng() -> StreamRng {
    StreamRng::seed_from_u64(1)
}

pub(crate) fn draw(constraints: &[Constraint<(), u32>], count: usize) -> Measured<(), u32> {
    Measured::draw(&uniform(), vec![()], &features(constraints), count, &mut rng()).expect("measures")
}
