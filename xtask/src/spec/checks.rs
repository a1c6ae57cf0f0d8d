//! Settings that do not go together: found here, before anything is computed, as far as they are known before.
//!
//! The ranges of the libraries' settings are asked of the libraries. A conflict names every field that it looks at, so that it is
//! not reported where one of them already has a problem.

use disco_core::Error as CoreError;

use super::{
    FeatureKind, FeatureSpec, LengthUnit, QrsGoal, Spec, Target,
    bounds::Bounded,
    command::command_conflicts,
    console::console_conflicts,
    document::{Conflict, feature_path},
    references::reference_conflicts,
    server::server_conflicts,
    tune_checks::tune,
};

/// All conflicts of a spec.
pub(super) fn conflicts(spec: &Spec) -> Vec<Conflict> {
    let mut found = Vec::new();
    model(spec, &mut found);
    server_conflicts(spec, &mut found);
    fit(spec, &mut found);
    tune(spec, &mut found);
    console_conflicts(spec, &mut found);
    sample(spec, &mut found);
    names(spec, &mut found);
    command_conflicts(&spec.features, &mut found);
    lengths(spec, &mut found);
    bounds(spec, &mut found);
    found.extend(reference_conflicts(spec));
    found
}

fn model(spec: &Spec, found: &mut Vec<Conflict>) {
    let model = &spec.model;
    if model.min_new_tokens > model.max_new_tokens {
        let message = format!("is {}", model.min_new_tokens);
        let allowed = format!("at most max_new_tokens, {}", model.max_new_tokens);
        found.push(Conflict::new(["model.min_new_tokens", "model.max_new_tokens"], message, allowed));
    }
    let asks_for_a_mean = spec.features.iter().any(|feature| feature.target.is_some() && !feature.is_hard());
    let one_text = [("model.top_k", model.top_k == Some(1)), ("model.min_p", model.min_p == Some(1.0))];
    for (field, _) in one_text.into_iter().filter(|(_, holds)| *holds && asks_for_a_mean) {
        let message =
            "is 1, which leaves one text in each context: no feature can have another mean than it has";
        found.push(Conflict::new(
            [field, "features"],
            message,
            "a value that leaves several tokens to draw from",
        ));
    }
}

fn fit(spec: &Spec, found: &mut Vec<Conflict>) {
    let config = spec.fit.config();
    if let Err(disco_ebm::Error::Core(error)) = config.validate() {
        found.push(refused("fit", &[("held_out", &["fit.held_out"])], error));
    }
    let drawn = spec.in_all_contexts(spec.fit.samples);
    if (drawn as f64) < config.min_ess {
        let message = format!("is {}", spec.fit.samples);
        let allowed = format!("at least {}: a fit needs that effective sample size", config.min_ess);
        found.push(Conflict::new(["fit.samples", "contexts"], message, allowed));
    }
}

/// The error of a library's settings at the field of the file that they come from.
pub(super) fn refused(table: &str, names: &[(&str, &[&str])], error: CoreError) -> Conflict {
    match error {
        CoreError::Invalid { field, value, allowed } => match names.iter().find(|(name, _)| *name == field) {
            Some((_, fields)) => Conflict::new(fields.iter().copied(), format!("is {value}"), allowed),
            None => Conflict::new([table], format!("has {field} = {value}"), allowed),
        },
        other => Conflict::new([table], format!("cannot be used: {other}"), "other settings"),
    }
}

fn sample(spec: &Spec, found: &mut Vec<Conflict>) {
    let QrsGoal::AcceptanceRate(rate) = spec.sample.qrs else { return };
    let hard = spec.features.iter().find(|feature| feature.is_hard());
    if let (1.0, Some(feature)) = (rate, hard) {
        let message = format!(
            "is 1, but the policy's samples on which `{}` is not as asked are never accepted",
            feature.name
        );
        found.push(Conflict::new(["sample.acceptance_rate", "features"], message, "above 0 and below 1"));
    }
    let sample = &spec.sample;
    let proposals = spec.in_all_contexts(sample.most_proposals()) as f64;
    let own = if sample.accepted.is_some() || sample.proposals.is_some() { "proposals" } else { "count" };
    let fields = ["sample.acceptance_rate", &format!("sample.{own}"), "sample.accepted", "contexts"];
    if let Some(accepted) = sample.accepted
        && rate * proposals < spec.in_all_contexts(accepted) as f64
    {
        let message = format!(
            "is {rate}: of {proposals} proposals, fewer than {accepted} (`accepted`) would be accepted"
        );
        let allowed = format!("at least {accepted} / {proposals}, or a larger `sample.{own}`");
        found.push(Conflict::new(fields, message, allowed));
    } else if rate * proposals < 1.0 {
        let message = format!("is {rate}: of {proposals} proposals, not even one would be accepted");
        let allowed = format!("at least 1 / {proposals}, or a larger `sample.{own}`");
        found.push(Conflict::new(fields, message, allowed));
    }
}

fn names(spec: &Spec, found: &mut Vec<Conflict>) {
    for (index, feature) in spec.features.iter().enumerate() {
        if let Some(first) = spec.features[..index].iter().position(|other| other.name == feature.name) {
            let fields = [feature_path(index, "name"), feature_path(first, "name")];
            let message = format!("is \"{}\": two features have the name \"{}\"", feature.name, feature.name);
            found.push(Conflict::new(fields, message, "names that differ"));
        }
    }
}

/// The path of the target of a feature.
fn target_path(index: usize, feature: &FeatureSpec) -> String {
    feature_path(index, feature.target.as_ref().map_or("kind", Target::field))
}

/// Numbers of tokens that samples cannot have on average.
fn lengths(spec: &Spec, found: &mut Vec<Conflict>) {
    let most = spec.model.max_new_tokens;
    // An end token can be drawn after `min_new_tokens` others.
    let least = (spec.model.min_new_tokens + 1).min(most);
    let ends = spec
        .features
        .iter()
        .enumerate()
        .find(|(_, feature)| feature.kind == FeatureKind::Ends { text: None });
    for (index, feature) in spec.features.iter().enumerate() {
        let (FeatureKind::Length { unit: LengthUnit::Tokens }, Some(mean)) = (&feature.kind, feature.asked())
        else {
            continue;
        };
        let (own, whole) = (target_path(index, feature), format!("features.{}", index + 1));
        let fields = [&own, &whole, "model.max_new_tokens", "model.min_new_tokens"];
        if !(mean >= least as f64 && mean < most as f64) {
            let range = if least < most {
                format!("from {least} to below {most}")
            } else {
                format!("no mean: every sample has {most} tokens")
            };
            let allowed =
                format!("{range} (max_new_tokens = {most}, min_new_tokens = {})", spec.model.min_new_tokens);
            found.push(Conflict::new(fields, format!("is {mean}"), allowed));
        } else if let Some((other, ends)) = ends
            && let Some(share) = ends.asked()
        {
            // A sample that does not end by itself has `max_new_tokens` tokens.
            let lowest = share * least as f64 + (1.0 - share) * most as f64;
            if mean < lowest {
                let message = format!(
                    "is {mean}, but by `{}` a share of {} of the samples does not end by itself, and each of these has {most} tokens",
                    ends.name,
                    short(1.0 - share)
                );
                let other = format!("features.{}", other + 1);
                let fields = [&own, &whole, &other, "model.max_new_tokens", "model.min_new_tokens"];
                found.push(Conflict::new(fields, message, format!("at least {}", short(lowest))));
            }
        }
    }
}

/// Targets that contradict each other whatever the model is.
fn bounds(spec: &Spec, found: &mut Vec<Conflict>) {
    let bounded: Vec<Bounded<'_>> =
        spec.features.iter().map(|feature| Bounded::new(&feature.name, &feature.kind)).collect();
    for (index, feature) in spec.features.iter().enumerate() {
        let (own, whole) = (target_path(index, feature), format!("features.{}", index + 1));
        let Some(asked) = feature.asked() else { continue };
        if bounded[index].always_holds() && feature.target != Some(Target::Always) {
            let message = "is asked of a pattern that matches every text, even an empty one";
            found.push(Conflict::new([&own, &whole], message, "always = true, or another pattern"));
        }
        for (before, other) in spec.features[..index].iter().enumerate() {
            let other_whole = format!("features.{}", before + 1);
            let fields = [own.as_str(), &whole, &other_whole];
            let Some(others) = other.asked() else { continue };
            let name = &other.name;
            let below = bounded[index].factor_below(&bounded[before]);
            let above = bounded[before].factor_below(&bounded[index]);
            let asks = format!("asks for a mean of {asked}, but");
            let times = |factor: f64| {
                if factor == 1.0 { format!("`{name}`") } else { format!("{} times `{name}`", short(factor)) }
            };
            let conflict = match (below, above) {
                (Some(1.0), Some(1.0)) if asked != others => Conflict::new(
                    fields,
                    format!("{asks} `{name}` is the same feature, and its mean is to be {others}"),
                    format!("{others}, or one of the two features alone"),
                ),
                (Some(factor), _) if asked * factor > others => Conflict::new(
                    fields,
                    format!(
                        "{asks} in no text is it above {}, whose mean is to be {others}",
                        times(1.0 / factor)
                    ),
                    format!("at most {}", short(others / factor)),
                ),
                (_, Some(factor)) if asked < others * factor => Conflict::new(
                    fields,
                    format!("{asks} in no text is it below {}, whose mean is to be {others}", times(factor)),
                    format!("at least {}", short(others * factor)),
                ),
                _ if bounded[index].excludes(&bounded[before]) && asked + others > 1.0 + 1e-12 => {
                    Conflict::new(
                        fields,
                        format!("{asks} no text can have both it and `{name}`, whose mean is to be {others}"),
                        format!("at most {}", short(1.0 - others)),
                    )
                }
                _ if bounded[index].is_opposite_of(&bounded[before])
                    && (asked + others - 1.0).abs() > 1e-12 =>
                {
                    Conflict::new(
                        fields,
                        format!("{asks} every text has either it or `{name}`, whose mean is to be {others}"),
                        short(1.0 - others),
                    )
                }
                _ => continue,
            };
            found.push(conflict);
        }
    }
}

/// At most six digits behind the point.
fn short(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
