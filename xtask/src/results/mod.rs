//! The results of a run: the record that its stages fill, and the folder, files and tables that are functions of it.

mod context_rows;
mod cost;
mod diagnosis;
mod disk_space;
mod distances;
mod folder;
mod numbers;
mod output;
mod output_file;
mod own_inputs;
mod place;
mod qrs_record;
mod record;
mod report;
mod rows;
mod space;
mod staging;
mod stored;
mod summary;
mod table;
mod unknown;

pub use context_rows::{CategoryRow, ContextRow};
pub(crate) use cost::{MemoryNeed, RunCost, StageCost, cost_table};
pub(crate) use diagnosis::{DiagnosedContext, DiagnosedDistance, DiagnosedFeature, Diagnosis, HeavySample};
pub(crate) use disk_space::{DiskSpace, check_lock};
pub(crate) use distances::{DISTANCES, TOTAL_VARIATION};
pub use folder::OutputFolder;
pub(crate) use folder::{free, take_lock};
#[cfg(feature = "lm")]
pub(crate) use numbers::grouped;
pub(crate) use numbers::{plain, plus_minus};
pub(crate) use output::RUN_FILE;
pub use output::write_outputs;
pub use output_file::OutputFile;
pub(crate) use own_inputs::{keep_file_apart, keep_inputs};
pub(crate) use place::{SUMMARY, keep_apart, resolve, stranger};
pub use qrs_record::{QrsCount, QrsPoint, QrsRecord};
pub(crate) use record::HEAVIEST;
pub use record::{
    BaseRecord, CategoryDistance, FitRecord, FittedFeature, HeldOutRecord, MaskingRecord, ModelRecord,
    PolicyRecord, RunRecord, SampleRecord, StageRecord, StepRecord, TargetRecord, TuningRecord, WeightRecord,
};
pub use report::{FileLinks, render_comparison, render_report, render_report_with};
pub(crate) use report::{REPORT, is_report};
pub use rows::{DistanceRow, FeatureRow, FromBase};
pub(crate) use staging::remove as remove_staging;
pub use stored::read_record;
pub use table::terminal_table;
