//! Fitted targets in JSON files.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use disco_core::{Error as CoreError, Feature, infinite, input::read_text};
use serde::{Deserialize, Serialize};

use crate::{Constraint, ConstraintKind, Error, Fit, FitReport, Result, Tilt, tilt::check_distinct};

/// The version of the format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// A fitted target as it is stored in a file: features by name. [`bind`](Self::bind) gives it its features again.
///
/// ```
/// use std::sync::Arc;
/// use disco_core::{Distribution, Feature, Scorer, Space, Table, predicate};
/// use disco_ebm::{Constraint, FitConfig, Measured, SavedTarget, features};
/// # let folder = std::env::temp_dir().join(format!("disco-ebm-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("target.json");
/// let space = Space::new([1u32, 2, 3, 4])?;
/// let even = || predicate("even", |_: &(), x: &u32| x.is_multiple_of(2));
/// let constraints = [Constraint::moment(even(), 0.9)?];
/// let measured = Measured::exact(&space.uniform(), &space, vec![()], &features(&constraints))?;
/// measured.fit(&constraints, &FitConfig::default())?.save(&path)?;
///
/// let saved = SavedTarget::load(&path)?;
/// assert_eq!(saved.feature_names().collect::<Vec<_>>(), ["even"]);
/// let feature: Arc<dyn Feature<(), u32>> = Arc::new(even());
/// let target = saved.bind([feature])?.target(space.uniform());
/// assert!((space.normalise(&target, &())?.log_prob(&2).exp() - 0.45).abs() < 1e-12);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedTarget {
    version: u32,
    terms: Vec<SavedTerm>,
    report: FitReport,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedTerm {
    feature: String,
    asked: ConstraintKind,
    coefficient: Option<f64>,
    /// The number that is subtracted from the feature in its factor; absent if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    shift: f64,
}

impl<C: ?Sized, X: ?Sized> Fit<C, X> {
    /// The fit without its features.
    pub fn to_saved(&self) -> SavedTarget {
        let tilt = self.tilt();
        let numbers = tilt.coefficients().zip(tilt.shifts());
        let terms = tilt.constraints().zip(numbers).map(|(constraint, (coefficient, shift))| SavedTerm {
            feature: constraint.name().into(),
            asked: constraint.kind(),
            coefficient,
            shift,
        });
        SavedTarget { version: VERSION, terms: terms.collect(), report: self.report().clone() }
    }

    /// Saves the fit to a JSON file: as a whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.to_saved().save(path)
    }
}

impl SavedTarget {
    /// Loads a file that [`Fit::save`] or [`SavedTarget::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Core`] for a file that is not UTF-8, [`Error::Json`] with line and column, [`Error::Version`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        #[derive(Deserialize)]
        struct OnlyVersion {
            version: u32,
        }
        let path = path.as_ref();
        let json = |cause| Error::Json { path: path.into(), cause };
        let text = read_text(path).map_err(|error| match error {
            CoreError::Io { path, cause } => Error::Io { path, cause },
            other => other.into(),
        })?;
        let text = infinite::from_python(&text);
        // The version is read first, so that a later format is not called malformed.
        let found = serde_json::from_str::<OnlyVersion>(&text).map_err(json)?.version;
        if found != VERSION {
            return Err(Error::Version { path: path.into(), found, expected: VERSION });
        }
        serde_json::from_str(&text).map_err(json)
    }

    /// Saves the target to a JSON file: as a whole or not at all. It is written under a temporary name in the same
    /// folder, which is then renamed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut text =
            serde_json::to_vec_pretty(self).map_err(|cause| Error::Json { path: path.into(), cause })?;
        text.push(b'\n');
        write_whole(path, &text).map_err(|cause| Error::Io { path: path.into(), cause })
    }

    /// The names of the features that the target needs, in order.
    pub fn feature_names(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().map(|term| term.feature.as_str())
    }

    /// The report of the fit.
    pub fn report(&self) -> &FitReport {
        &self.report
    }

    /// Gives the terms their features again, by name, in any order.
    ///
    /// # Errors
    /// [`Error::MissingFeature`], [`Error::UnknownFeature`], [`Error::DuplicateFeature`];
    /// [`disco_core::Error::Invalid`] for targets, tolerances or coefficients out of range.
    pub fn bind<C: ?Sized, X: ?Sized>(
        &self,
        features: impl IntoIterator<Item = Arc<dyn Feature<C, X>>>,
    ) -> Result<Fit<C, X>> {
        let features: Vec<_> = features.into_iter().collect();
        check_distinct(features.iter().map(|feature| feature.name()))?;
        if let Some(unknown) =
            features.iter().find(|feature| !self.feature_names().any(|name| name == feature.name()))
        {
            let known = self.feature_names().map(str::to_owned).collect();
            return Err(Error::UnknownFeature { feature: unknown.name().into(), known });
        }
        let bind = |term: &SavedTerm| {
            let found = features.iter().find(|feature| feature.name() == term.feature);
            let feature = found.ok_or_else(|| Error::MissingFeature {
                feature: term.feature.clone(),
                given: features.iter().map(|feature| feature.name().to_owned()).collect(),
            })?;
            Ok((Constraint::new(Arc::clone(feature), term.asked)?, term.coefficient))
        };
        let terms: Vec<_> = self.terms.iter().map(bind).collect::<Result<_>>()?;
        let shifts: Vec<f64> = self.terms.iter().map(|term| term.shift).collect();
        Ok(Fit::new(Tilt::new(terms)?.with_shifts(&shifts)?, self.report.clone()))
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Writes a file to a temporary name beside it, and renames that.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| std::io::Error::other("the path names no file"))?;
    // Unlike in any other process or thread that writes here.
    let unique = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{unique}.tmp"));
    let temporary: PathBuf = path.with_file_name(hidden);
    let write = || {
        let mut file: File = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // The unfinished file is of no use.
        let _ = fs::remove_file(&temporary);
    })
}
