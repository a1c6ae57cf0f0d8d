//! The tests of fits and their targets, as one program, which is linked once.

mod adaptive_resampling;
mod bad_input;
mod coverage;
mod dual_is_minimised;
mod golden;
mod golden_exact_fits;
mod golden_sampled_fits;
mod infeasible_targets_are_named;
mod many_equal_samples;
mod published_fits;
mod samples_that_will_not_do;
mod saved_targets;
mod skewed_moments;
mod skewness;
mod skipped_samples;
mod sources_of_samples;
mod target_scores;
mod uniform;
mod value_stability;
