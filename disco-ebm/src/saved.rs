//! Fitted targets in JSON files.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use disco_core::{Error as CoreError, infinite, input::read_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ConstraintKind, ContextReport, Error, Fit, FitReport, Result,
    factor::{Factor, Factors},
    tilt::Term,
};

/// The version of the format that is written. Version 1 is read too: it has shared coefficients only.
const VERSION: u32 = 2;

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
    /// The contexts that have coefficients of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) contexts: Vec<Value>,
    pub(crate) terms: Vec<SavedTerm>,
    pub(crate) report: FitReport,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedTerm {
    pub(crate) feature: String,
    pub(crate) asked: ConstraintKind,
    pub(crate) coefficient: Option<f64>,
    /// The number that is subtracted from the feature in its factor; absent if 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) shift: f64,
    /// The feature that is the condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) given: Option<String>,
    /// The label that the constraint is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<SavedLabel>,
    /// The known bounds of the feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) low: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) high: Option<f64>,
    /// One for each of the contexts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) by_context: Vec<SavedFactor>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedLabel {
    pub(crate) labels: Vec<String>,
    pub(crate) position: usize,
}

/// The factor of a constraint in a context, with what is asked there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SavedFactor {
    Pointwise { wanted: bool },
    Moment { target: f64, coefficient: f64, shift: f64 },
}

impl<C: ?Sized, X: ?Sized> Fit<C, X> {
    /// The fit without its features.
    pub fn to_saved(&self) -> SavedTarget {
        let tilt = self.tilt();
        let known = |bound: f64| bound.is_finite().then_some(bound);
        let term = |(i, term): (usize, &Term<C, X>)| {
            let constraint = &term.constraint;
            let (coefficient, shift) = match (&term.factors, term.given) {
                (Factors::Shared(Factor::Soft { coefficient, shift }), None) => (Some(*coefficient), *shift),
                (Factors::Shared(Factor::Soft { coefficient, .. }), Some(_)) => (Some(*coefficient), 0.0),
                _ => (None, 0.0),
            };
            let in_context = |(factor, report): (&Factor, &ContextReport)| match *factor {
                Factor::Hard { wanted } => SavedFactor::Pointwise { wanted },
                Factor::Soft { coefficient, shift } => {
                    let target = match report.constraints[i].asked {
                        Some(ConstraintKind::Moment { target, .. }) => target,
                        _ => unreachable!("fits report what they ask, and `bind` checks it"),
                    };
                    SavedFactor::Moment { target, coefficient, shift }
                }
            };
            SavedTerm {
                feature: constraint.feature().name().into(),
                asked: constraint.kind(),
                coefficient,
                shift,
                given: constraint.condition().map(|g| g.name().into()),
                label: constraint
                    .label_of()
                    .map(|label| SavedLabel { labels: label.labels.to_vec(), position: label.position }),
                low: known(constraint.range().low),
                high: known(constraint.range().high),
                by_context: match &term.factors {
                    Factors::Shared(_) => Vec::new(),
                    Factors::Each(factors) => {
                        factors.iter().zip(&self.report().by_context).map(in_context).collect()
                    }
                },
            }
        };
        let terms = tilt.terms.iter().enumerate().map(term).collect();
        let contexts = tilt
            .index()
            .map_or_else(Vec::new, |index| index.keys().iter().map(|key| key.0.clone()).collect());
        SavedTarget { version: VERSION, contexts, terms, report: self.report().clone() }
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
        if !(1..=VERSION).contains(&found) {
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

    /// The names of the features that the target needs, those of conditions included, each once, in order.
    pub fn feature_names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.terms.iter().flat_map(|term| [Some(&term.feature), term.given.as_ref()]).flatten() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names.into_iter()
    }

    /// The report of the fit.
    pub fn report(&self) -> &FitReport {
        &self.report
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
