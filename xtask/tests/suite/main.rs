//! The tests of the workflows, as one program, which is linked once.

mod browser;
mod command_line;
#[cfg(unix)]
mod command_scorer;
mod common;
#[cfg(all(unix, feature = "serve", feature = "flex"))]
mod documented;
#[cfg(feature = "flex")]
mod dry_run;
mod http_scorer;
#[cfg(unix)]
mod interrupt;
#[cfg(target_os = "linux")]
mod kills;
mod kinds;
mod kinds_json;
mod kinds_made;
#[cfg(feature = "flex")]
mod language_model;
#[cfg(feature = "flex")]
mod mlflow;
mod outputs;
mod ownership;
mod pipeline;
mod pipeline_settings;
#[cfg(unix)]
mod program;
#[cfg(unix)]
mod python_scorer;
#[cfg(all(feature = "serve", feature = "flex"))]
mod remote_disco;
mod remote_faults;
mod remote_llama_cpp;
mod remote_model;
mod report;
#[cfg(unix)]
mod scorer_speed;
#[cfg(feature = "serve")]
mod serving;
#[cfg(all(feature = "serve", feature = "flex"))]
mod serving_model;
#[cfg(feature = "serve")]
mod serving_refusals;
#[cfg(all(feature = "serve", feature = "flex", unix))]
mod serving_target;
#[cfg(feature = "flex")]
mod shards;
mod skipping;
mod spec;
mod spec_conflicts;
mod spec_contexts;
mod spec_external;
mod spec_kinds;
mod spec_mutations;
mod spec_server;
mod spec_settings;
#[cfg(all(unix, feature = "flex"))]
mod stage_kills;
mod stages;
#[cfg(feature = "flex")]
mod stages_of_a_model;
mod stored;
mod targets;
#[cfg(target_os = "linux")]
mod terminal;
mod text;
mod tidy;
