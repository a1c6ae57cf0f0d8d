//! The names of the metrics that a run can have: an unknown metric of early stopping is an error before the first step.

use super::estimate::divergence_names;
use crate::{
    config::{Partition, Sampling, TunerConfig},
    error::{Error, Result},
    problem::Problem,
};

/// Refuses early stopping by a metric that the run will never have, or whose direction is not known.
pub(crate) fn check_early_stopping<C, X>(config: &TunerConfig, problem: &Problem<'_, C, X>) -> Result<()> {
    let Some(stopping) = &config.early_stopping else { return Ok(()) };
    let available = metric_names(config, problem);
    if !available.contains(&stopping.metric) {
        return Err(Error::Metric { metric: stopping.metric.clone(), available });
    }
    stopping.improves()?;
    Ok(())
}

/// The names of [`Metrics`](crate::Metrics) that steps or validation may report.
fn metric_names<C, X>(config: &TunerConfig, problem: &Problem<'_, C, X>) -> Vec<String> {
    let enumerated = config.sampling == Sampling::Enumerated;
    let offline = matches!(config.sampling, Sampling::Offline { .. });
    let mut names = Vec::new();
    if config.metrics_every > 0 {
        names.extend(sample_names(problem, offline, enumerated));
        names.push("log_prob_gap".into());
        if !enumerated {
            names.push("missing_mass".into());
            for of in ["pseudo_reward", "advantage"] {
                names.extend(["mean", "std", "min", "max"].map(|statistic| format!("{of}/{statistic}")));
            }
        }
        if config.max_importance_ratio.is_some() || config.max_pseudo_reward.is_some() {
            names.push("cut_share".into());
        }
    }
    if config.validation.is_some() {
        let mut validated = sample_names(problem, false, enumerated);
        if config.partition == Partition::Normalised && !enumerated {
            validated.push("missing_mass".into());
        }
        names.extend(validated.into_iter().map(|name| format!("validation/{name}")));
    }
    names.sort_unstable();
    names
}

/// The names of metrics of any samples.
fn sample_names<C, X>(problem: &Problem<'_, C, X>, offline: bool, enumerated: bool) -> Vec<String> {
    let mut names: Vec<String> = ["entropy", "outside_mass", "log_z"].map(String::from).into();
    if !enumerated {
        names.extend(["ess", "ess_share", "largest_weight_share", "log_z_running"].map(String::from));
    }
    names.extend(divergence_names("policy", "target", "target_policy"));
    if offline {
        names.extend(divergence_names("proposal", "target", "target_proposal"));
    }
    if problem.base.is_some() {
        names.extend(divergence_names("policy", "base", "policy_base"));
    }
    for feature in &problem.features {
        let under = ["policy", "target"].into_iter().chain(offline.then_some("proposal"));
        names.extend(under.map(|whose| format!("moment/{}/{whose}", feature.name())));
    }
    names.extend(problem.length.is_some().then(|| "length".into()));
    names.extend(problem.statistics.iter().map(|(name, _)| format!("statistic/{name}")));
    names
}
