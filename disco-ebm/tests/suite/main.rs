//! The tests of fits and their targets, as one program, which is linked once.

mod adaptive_resampling;
mod bad_input;
mod coverage;
mod dual_is_minimised;
mod edges;
mod far_targets;
mod golden;
mod golden_exact_fits;
mod golden_sampled_fits;
mod infeasible_targets_are_named;
mod many_equal_samples;
mod margins;
mod matrices;
mod offsets_and_scales;
mod published_fits;
mod samples_that_will_not_do;
mod saved_targets;
mod skewed_moments;
mod skewness;
mod skipped_samples;
mod small_fits;
mod sources_of_samples;
mod target_scores;
mod uniform;
mod value_stability;
