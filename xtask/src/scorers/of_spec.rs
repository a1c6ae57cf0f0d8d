//! The programs and servers of a run file, as text scorers.

use std::{collections::BTreeMap, env, ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use disco_core::{Error as CoreError, Score, Skipped};

use super::{CommandSettings, ExternalScorer, HttpSettings, ScoredSample, external_scorer::place};
use crate::{
    Error, Result,
    contexts::TextContext,
    embedded::python_modules,
    features::{SampleView, TextScorer, TextScorers},
    spec::{CommandAsking, CommandSpec, Dialect, FeatureKind, FeatureSpec, HttpSpec},
};

/// The variable with the folders in which Python looks for modules.
const PYTHON_PATH: &str = "PYTHONPATH";
/// A variable that makes Python write what is printed at once, so that a scorer that forgets to flush does not wait for ever.
const PYTHON_UNBUFFERED: &str = "PYTHONUNBUFFERED";

/// The text scorers of those features whose values programs and servers give. Programs are started here, each
/// once for all features that ask it.
///
/// # Errors
/// [`Error::Scorer`]; [`Error::File`] if the Python module for scorers cannot be unpacked into the cache.
pub(crate) fn external_scorers<'a>(
    features: impl IntoIterator<Item = &'a FeatureSpec>,
) -> Result<TextScorers> {
    let mut programs: Vec<Vec<(Asked<'_>, &CommandSpec)>> = Vec::new();
    let mut servers: Vec<Vec<(Asked<'_>, &HttpSpec)>> = Vec::new();
    for FeatureSpec { name, kind, .. } in features {
        match kind {
            FeatureKind::Command(spec) => {
                let asked = Asked { name, feature: &spec.feature, binary: spec.binary };
                add(&mut programs, (asked, spec), CommandSpec::asks_the_same);
            }
            FeatureKind::Http(spec) => {
                let asked = Asked { name, feature: &spec.feature, binary: spec.binary };
                let same = |one: &HttpSpec, other: &HttpSpec| {
                    one.dialect == Dialect::Disco
                        && (one.dialect, &one.asking) == (other.dialect, &other.asking)
                };
                add(&mut servers, (asked, spec), same);
            }
            _ => {}
        }
    }
    let mut scorers = TextScorers::new();
    for program in programs {
        let asking = program.iter().fold(CommandAsking::default(), |all, (_, spec)| all.or(spec.asking));
        let settings = command_settings(program[0].1, asking)?;
        share(&program, &mut scorers, |features| ExternalScorer::from_command(features, settings))?;
    }
    for server in servers {
        let settings = http_settings(server[0].1)?;
        share(&server, &mut scorers, |features| ExternalScorer::from_server(features, settings))?;
    }
    Ok(scorers)
}

/// A feature of a run file, and the feature of a program or server that gives its values.
#[derive(Clone, Copy, Debug)]
struct Asked<'a> {
    name: &'a str,
    feature: &'a str,
    binary: bool,
}

/// Adds a feature to those that are asked together with it.
fn add<'a, S>(
    groups: &mut Vec<Vec<(Asked<'a>, &'a S)>>,
    new: (Asked<'a>, &'a S),
    same: impl Fn(&S, &S) -> bool,
) {
    match groups.iter_mut().find(|group| same(group[0].1, new.1)) {
        Some(group) => group.push(new),
        None => groups.push(vec![new]),
    }
}

/// Adds the text scorers of features that are asked together.
fn share<S>(
    group: &[(Asked<'_>, S)],
    scorers: &mut TextScorers,
    make: impl FnOnce(Vec<String>) -> Result<ExternalScorer>,
) -> Result<()> {
    let mut features: Vec<String> = Vec::new();
    for (asked, _) in group {
        if !features.iter().any(|known| known == asked.feature) {
            features.push(asked.feature.to_owned());
        }
    }
    let scorer = Arc::new(make(features.clone())?);
    for (asked, _) in group {
        let column = features.iter().position(|known| known == asked.feature).unwrap_or_default();
        let feature = ExternalFeature {
            name: asked.name.to_owned(),
            scorer: Arc::clone(&scorer),
            column,
            binary: asked.binary,
        };
        scorers.insert(asked.name.to_owned(), Arc::new(feature));
    }
    Ok(())
}

fn command_settings(spec: &CommandSpec, asking: CommandAsking) -> Result<CommandSettings> {
    let seconds = |given: Option<f64>, default| Duration::from_secs_f64(given.unwrap_or(default));
    let folders =
        env::var_os(PYTHON_PATH).into_iter().flat_map(|value| env::split_paths(&value).collect::<Vec<_>>());
    let folders: Vec<PathBuf> = folders.chain([python_modules()?]).collect();
    let mut environment = BTreeMap::from([(PYTHON_UNBUFFERED.to_owned(), OsString::from("1"))]);
    // A folder with a colon in its name cannot be listed.
    if let Ok(folders) = env::join_paths(folders) {
        environment.insert(PYTHON_PATH.to_owned(), folders);
    }
    Ok(CommandSettings {
        run: spec.run.clone(),
        program: spec.program(),
        folder: spec.folder.clone(),
        environment,
        workers: asking.workers.unwrap_or(1),
        batch: asking.batch.unwrap_or(256),
        timeout: seconds(asking.timeout, 60.0),
        start_timeout: seconds(asking.start_timeout, 120.0),
        retries: asking.retry.unwrap_or(0),
    })
}

fn http_settings(spec: &HttpSpec) -> Result<HttpSettings> {
    let asking = &spec.asking;
    let headers = asking.resolved_headers().map_err(|(name, problem)| Error::Scorer {
        scorer: asking.url.clone(),
        problem: format!("the header `{name}` {problem}"),
    })?;
    Ok(HttpSettings {
        url: asking.url.clone(),
        dialect: spec.dialect,
        model: spec.model.clone().unwrap_or_else(|| "model".to_owned()),
        headers,
        workers: asking.workers,
        batch: asking.batch,
        timeout: Duration::from_secs_f64(asking.timeout),
        tries: asking.tries,
    })
}

/// A feature whose values a program or server gives.
#[derive(Debug)]
struct ExternalFeature {
    name: String,
    scorer: Arc<ExternalScorer>,
    /// The place of the feature among those of the scorer.
    column: usize,
    /// Whether only 0 and 1 are allowed.
    binary: bool,
}

impl TextScorer for ExternalFeature {
    fn scores(&self, context: &TextContext, samples: &[SampleView<'_>]) -> disco_core::Result<Vec<Score>> {
        let sample = |&SampleView { text, tokens, finished }: &_| {
            let (context, columns) = (context.text(), context.columns());
            ScoredSample { context, text, tokens, finished, columns }
        };
        let samples: Vec<ScoredSample<'_>> = samples.iter().map(sample).collect();
        let failed =
            |problem: String| CoreError::failed(format!("the scorer `{}`", self.scorer.name()), problem);
        let rows = self.scorer.rows(&samples).map_err(|error| match error {
            Error::Scorer { problem, .. } => failed(problem),
            other => failed(other.to_string()),
        })?;
        let score = |(index, row): (usize, &Vec<Score>)| match &row[self.column] {
            Ok(value) if self.binary && *value != 0.0 && *value != 1.0 => Err(failed(format!(
                "{}: feature `{}` gave {value}; allowed: 0, 1, false and true, since it is `binary`",
                place(index, &samples[index]),
                self.name
            ))),
            Ok(value) => Ok(Ok(*value)),
            // Skipped samples are counted by the names of the run file.
            Err(skipped) => Ok(Err(Skipped::new(&self.name, skipped.reason()))),
        };
        rows.iter().enumerate().map(score).collect()
    }
}
