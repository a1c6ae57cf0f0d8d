//! Policies that can be saved and loaded.

use std::path::Path;

use disco_core::Result;

/// A policy whose state can be saved, for runs with checkpoints.
///
/// Needed by [`Run::with_checkpoints`](crate::Run::with_checkpoints), [`Tuner::resume`](crate::Tuner::resume) and
/// [`Checkpoints::load_policy`](crate::Checkpoints::load_policy) only.
pub trait Checkpointed {
    /// Writes parameters and optimizer state into `directory`, so that after [`load`](Self::load) a run continues to the
    /// bit.
    ///
    /// The directory exists and is empty. The tuner flushes its files to the disk and keeps checksums of them.
    fn save(&self, directory: &Path) -> Result<()>;

    /// Reads the files that [`save`](Self::save) wrote. The pending gradient is then zero.
    ///
    /// # Errors
    /// For files of a policy of another shape, among others. Parameters and optimizer state are then untouched.
    fn load(&mut self, directory: &Path) -> Result<()>;
}
