//! Settings of tuning that do not go together.

use disco_tuner::Sampling;

use super::{
    Spec,
    checks::refused,
    divergence::finite_outside_the_support,
    document::{Conflict, feature_path},
};

/// The settings of the tuner by the names that its errors have for them, and the fields of the file that they come from.
const TUNER_FIELDS: &[(&str, &[&str])] = &[
    ("steps", &["tune.steps"]),
    ("samples_per_step", &["tune.samples_per_step", "tune.contexts_per_step"]),
    ("contexts_per_step", &["tune.contexts_per_step"]),
    ("micro_batch.samples", &["tune.micro_batch"]),
    ("learning_rate", &["tune.learning_rate"]),
    ("max_gradient_norm", &["tune.max_gradient_norm"]),
    ("optimizer.beta1", &["tune.optimizer.beta1"]),
    ("optimizer.beta2", &["tune.optimizer.beta2"]),
    ("optimizer.epsilon", &["tune.optimizer.epsilon"]),
    ("optimizer.momentum", &["tune.optimizer.momentum"]),
    ("optimizer.weight_decay", &["tune.optimizer.weight_decay"]),
    ("schedule.warmup_steps", &["tune.warmup_steps", "tune.steps"]),
    ("schedule.floor", &["tune.floor"]),
    ("micro_batch.tokens", &["tune.micro_batch_tokens"]),
    ("sampling.z", &["tune.sampling.z"]),
    ("sampling.every", &["tune.sampling.every"]),
    ("baseline", &["tune.baseline", "tune.divergence"]),
    ("epochs", &["tune.epochs"]),
    ("replay", &["tune.replay", "model.choices"]),
    ("max_importance_ratio", &["tune.max_importance_ratio", "model.choices"]),
    ("max_pseudo_reward", &["tune.max_pseudo_reward"]),
    ("max_steps_without_success", &["tune.max_steps_without_success"]),
    ("metrics_every", &["tune.metrics_every"]),
    ("validation.every", &["tune.validation.every"]),
    ("validation.samples", &["tune.validation.samples"]),
    ("early_stopping.patience", &["tune.early_stopping.patience"]),
    ("early_stopping.min_delta", &["tune.early_stopping.min_delta"]),
];

/// Conflicts among the settings of tuning, and with others.
pub(super) fn tune(spec: &Spec, found: &mut Vec<Conflict>) {
    let tune = &spec.tune;
    // Settings of what is not done contradict nothing.
    if tune.steps == 0 {
        return;
    }
    if let Err(error) =
        tune.tuner_config(spec.checkpoints.best, spec.model.choices.is_some(), spec.seed).validate()
    {
        // The tuner has one metric, for both.
        let of_metric: &[&str] = if tune.early_stopping.is_some() {
            &["tune.early_stopping.metric"]
        } else {
            &["checkpoints.best"]
        };
        let names = [TUNER_FIELDS, &[("early_stopping.metric", of_metric)]].concat();
        found.push(refused("tune", &names, error));
    }
    measuring(spec, found);
    if tune.contexts_per_step > spec.contexts.items.len() {
        let message = format!("is {}", tune.contexts_per_step);
        let allowed = format!("at most the number of contexts, {}", spec.contexts.items.len());
        found.push(Conflict::new(["tune.contexts_per_step", "contexts"], message, allowed));
    }
    // A baseline is the mean over the other samples of the same context.
    if tune.samples_per_step < 2 * tune.contexts_per_step {
        let message = format!("is {}", tune.samples_per_step);
        let fields = ["tune.samples_per_step", "tune.contexts_per_step"];
        let allowed = format!("at least {}: two for each of `contexts_per_step`", 2 * tune.contexts_per_step);
        found.push(Conflict::new(fields, message, allowed));
    }
    if let Some(feature) = spec.refused_hard_constraint() {
        let message = format!(
            "is \"{}\", which is infinite, since `{}` is to hold always or never and the policy cannot keep to that from the \
             start",
            tune.divergence, feature.name
        );
        let allowed =
            format!("one that is finite: {}; or a mean for the feature", finite_outside_the_support());
        found.push(Conflict::new(["tune.divergence", "features"], message, allowed));
    }
}

/// Settings of what is measured while the policy is tuned.
fn measuring(spec: &Spec, found: &mut Vec<Conflict>) {
    let tune = &spec.tune;
    if let (Some(stopping), Some(best)) = (&tune.early_stopping, spec.checkpoints.best)
        && stopping.metric != best
    {
        let message =
            format!("is \"{best}\", but `tune.early_stopping.metric` decides which checkpoint is the best");
        let fields = ["checkpoints.best", "tune.early_stopping.metric"];
        found.push(Conflict::new(fields, message, format!("\"{}\", or none", stopping.metric)));
    }
    let is_listed = spec.model.choices.is_some();
    if is_listed && matches!(tune.sampling, Sampling::Offline { .. }) {
        let message = "is offline, but all texts are listed, and none is drawn";
        found.push(Conflict::new(
            ["tune.sampling", "model.choices"],
            message,
            "online, or no `model.choices`",
        ));
    }
    if tune.validation.is_none() {
        return;
    }
    if spec.contexts.held_out.is_empty() {
        let message = "needs contexts that are held out";
        found.push(Conflict::new(["tune.validation", "contexts"], message, "`held_out` in [contexts]"));
    } else if is_listed {
        let message = "needs samples, but all texts are listed, and none is drawn";
        found.push(Conflict::new(["tune.validation", "model.choices"], message, "no `model.choices`"));
    } else if let Some(index) = spec.features.iter().position(|feature| feature.per_context) {
        let message = "needs a target in contexts that are held out, but a feature has coefficients in each of the others alone";
        let per_context = feature_path(index, "per_context");
        let fields = ["tune.validation", "contexts", "features", &per_context];
        found.push(Conflict::new(fields, message, "features without `per_context`"));
    }
}
