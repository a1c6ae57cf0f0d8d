//! Which metrics a run can have, so that one that is to be followed is looked for before the first step.

use crate::{Error, Partition, Problem, Result, Sampling, TunerConfig, measure::divergence_names};

impl TunerConfig {
    /// Refuses early stopping by a metric that there will never be.
    pub(crate) fn check_watched<C, X>(&self, problem: &Problem<'_, C, X>) -> Result<()> {
        let Some(stopping) = &self.early_stopping else { return Ok(()) };
        let names = self.metric_names(problem);
        if names.contains(&stopping.metric) {
            return Ok(());
        }
        Err(Error::Metric { metric: stopping.metric.clone(), available: names.join(", ") })
    }

    /// The names of [`Metrics`](crate::Metrics) that steps or validation may report.
    fn metric_names<C, X>(&self, problem: &Problem<'_, C, X>) -> Vec<String> {
        let offline = self.sampling != Sampling::Online;
        let mut names = Vec::new();
        if self.metrics_every > 0 {
            names.extend(sample_names(problem, offline));
            names.extend(["lacking_mass", "log_prob_gap"].map(String::from));
            for of in ["pseudo_reward", "advantage"] {
                names.extend(["mean", "std", "min", "max"].map(|statistic| format!("{of}/{statistic}")));
            }
            if self.max_importance_ratio.is_some() || self.max_pseudo_reward.is_some() {
                names.push("cut_share".into());
            }
        }
        if self.validation.is_some() {
            let mut validated = sample_names(problem, false);
            if self.partition == Partition::Normalised {
                validated.push("lacking_mass".into());
            }
            names.extend(validated.into_iter().map(|name| format!("validation/{name}")));
        }
        names.sort_unstable();
        names
    }
}

/// What is said of any samples.
fn sample_names<C, X>(problem: &Problem<'_, C, X>, offline: bool) -> Vec<String> {
    let always =
        ["entropy", "outside_mass", "ess", "ess_share", "largest_weight_share", "log_z", "log_z_running"];
    let mut names: Vec<String> = always.map(String::from).into();
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
