//! The tests of the samplers, as one program, which is linked once.

mod bad_input;
mod common;
mod coverage;
mod exact;
mod golden;
mod huge_scores;
mod known_bounds;
mod qrs;
mod recorded;
mod sampled_curve;
mod samplers;
