//! The tests of disco-core, as one program, which is linked once.

mod algebra;
mod cancellation;
mod chunking;
mod contexts;
mod coverage;
mod distributions;
mod empirical;
mod exact_space;
mod extremes;
mod golden;
mod input;
mod properties;
mod scratch;
mod stored;
mod unsized_contexts;
mod value_stability;
mod weights;
