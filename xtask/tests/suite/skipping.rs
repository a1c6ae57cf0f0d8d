//! A text scorer that skips samples, from features to report, on texts that can be listed. No language model is needed to make one.

use std::{path::Path, sync::Arc};

use disco_core::{Estimate, Score, Skipped};
use disco_tuner::Policy;
use xtask::{
    BaseModel, ClassifierSpec, Clock, FeatureKind, LabelValue, ModelRecord, ModelSource, ProgressTarget,
    RunPlan, RunRecord, SampleView, Spec, TextContext, TextScorer, TextScorers, fit, measure, read_spec,
    render_report, run_pipeline, terminal_table,
};

use crate::common::speech::{base, speeches};

/// 1 for a text that names a king; texts of the night are skipped.
#[derive(Debug)]
struct Daylight;

fn value(text: &str) -> Option<f64> {
    (!text.contains("night")).then(|| f64::from(u8::from(text.contains("king"))))
}

impl TextScorer for Daylight {
    fn scores(&self, _: &TextContext, samples: &[SampleView<'_>]) -> disco_core::Result<Vec<Score>> {
        let score = |sample: &SampleView<'_>| {
            value(sample.text).ok_or_else(|| Skipped::new("daylight", "it is dark"))
        };
        Ok(samples.iter().map(score).collect())
    }
}

fn spec() -> Spec {
    let text = r#"
[model]
source = "embedded"
[contexts]
list = ["calm", "stormy"]
[[features]]
name = "daylight"
kind = "contains"
text = "king"
mean = 0.5
[[features]]
name = "sword"
kind = "contains"
text = "sword"
mean = 0.4
[fit]
samples = 8000
[tune]
steps = 60
samples_per_step = 256
contexts_per_step = 2
learning_rate = 0.05
[sample]
count = 4000
acceptance_rate = 0.3
"#;
    let mut spec = read_spec("skipping.toml", text, Path::new("")).unwrap();
    spec.features[0].kind = FeatureKind::Classifier(ClassifierSpec {
        model: ModelSource::Folder("nowhere".into()),
        label: "king".into(),
        value: LabelValue::Probability,
        temperature: 1.0,
        truncate: false,
    });
    spec
}

fn scorers() -> TextScorers {
    [("daylight".to_owned(), Arc::new(Daylight) as Arc<dyn TextScorer>)].into()
}

fn model() -> ModelRecord {
    ModelRecord { name: "speeches".into(), facts: Default::default() }
}

#[track_caller]
fn near(found: Estimate, exact: f64) {
    // Four standard errors: one seed in ten thousand would fail by chance, and the seed is fixed.
    assert!((found.value - exact).abs() <= 4.0 * found.std_error + 1e-9, "{found:?}, exactly {exact}");
}

#[test]
fn a_skipped_sample_counts_as_forbidden_and_the_run_goes_on() {
    let spec = spec();
    let (start, mut policy) = (base(&spec.contexts.items), base(&spec.contexts.items));
    let frozen = policy.freeze().unwrap();
    let plan = RunPlan::new(&spec, &scorers(), ProgressTarget::Hidden).unwrap();
    let finished = run_pipeline(
        &plan,
        model(),
        &BaseModel::new(frozen.clone()),
        &mut policy,
        &mut Clock::default(),
        None,
    )
    .unwrap();
    let record = finished.record;
    let lambda: Vec<f64> =
        finished.fit.tilt().coefficients().map(|coefficient| coefficient.unwrap()).collect();

    // The exact target: no mass on skipped texts. Of quasi-rejection, the mean under min(P, beta pi), of both contexts together.
    let beta = record.qrs.as_ref().unwrap().log_beta.exp();
    let (space, mut exact, mut accepted) = (speeches(), [0.0; 4], [0.0; 2]);
    for (row, tuned) in start.rows().iter().zip(policy.rows()) {
        let (a, pi) = (row.probabilities(), tuned.probabilities());
        let texts: Vec<&str> = space.outcomes().iter().map(xtask::TextSample::text).collect();
        let factor = |text: &str| {
            let sword = f64::from(u8::from(text.contains("sword")));
            value(text).map_or(0.0, |king| (lambda[0] * king + lambda[1] * sword).exp())
        };
        let p: Vec<f64> = texts.iter().zip(a).map(|(text, a)| a * factor(text)).collect();
        let z: f64 = p.iter().sum();
        let king = |weights: &[f64]| -> f64 {
            let others = texts.iter().zip(weights).filter_map(|(text, weight)| Some((value(text)?, weight)));
            let (sum, mass) = others.fold((0.0, 0.0), |(sum, mass), (king, w)| (sum + king * w, mass + w));
            sum / mass
        };
        exact[0] += z.ln() / 2.0;
        exact[1] += king(a) / 2.0;
        exact[2] += king(pi) / 2.0;
        exact[3] += p.iter().zip(pi).map(|(p, pi)| (p / z - pi).abs()).sum::<f64>() / 4.0;
        let bounded: Vec<f64> = p.iter().zip(pi).map(|(p, pi)| p.min(beta * pi)).collect();
        let mass: f64 = bounded.iter().sum();
        accepted = [accepted[0] + mass * king(&bounded), accepted[1] + mass];
    }
    let (target, policy, qrs) =
        (record.target.as_ref().unwrap(), record.policy.as_ref().unwrap(), record.qrs.as_ref().unwrap());
    let measured = record.base.as_ref().unwrap();
    near(target.fit.log_z, exact[0]);
    near(measured.means[0], exact[1]);
    near(policy.means[0], exact[2]);
    near(policy.distances[2], exact[3]);
    near(qrs.means[0], accepted[0] / accepted[1]);

    for (samples, skipped) in [(&measured.samples, measured.skipped), (&policy.samples, policy.skipped)] {
        assert!(skipped > 0);
        assert_eq!(samples.iter().filter(|sample| sample.features[0].is_none()).count(), skipped);
    }
    assert!(qrs.skipped > 0 && qrs.samples.iter().all(|sample| !sample.text.contains("night")));
    let note = format!("{} samples of the base were skipped by a text scorer", measured.skipped);
    assert!(render_report(&record).contains(&note) && terminal_table(&record).contains(&note));
}

#[test]
fn a_workflow_may_fill_some_parts_of_the_record_only() {
    let spec = spec();
    let frozen = base(&spec.contexts.items).freeze().unwrap();
    let plan = RunPlan::new(&spec, &scorers(), ProgressTarget::Hidden).unwrap();
    let mut record = RunRecord::new(&spec, model());
    let said = |record: &RunRecord| (render_report(record), terminal_table(record));

    let (report, table) = said(&record);
    assert!(table.starts_with("feature   asked\ndaylight  0.500\n"), "{table}");
    assert!(!report.contains("<h2>Samples") && !report.contains("<h2>The target"));

    let measured = measure(&plan, &BaseModel::new(frozen.clone())).unwrap();
    record.base = Some(measured.record.clone());
    let (report, table) = said(&record);
    assert!(table.starts_with("feature            before  asked\ndaylight  0."), "{table}");
    assert!(!table.contains("distance") && !table.contains("QRS"), "{table}");
    assert!(
        report.contains("<h2>Samples")
            && report.contains(" under the base.")
            && !report.contains("Quasi-rejection sampling</h2>")
    );

    record.target = Some(fit(&plan, &measured).unwrap().record);
    let (report, table) = said(&record);
    assert!(table.contains("distance to target") && report.contains("<h2>The target"), "{table}");

    let place = tempfile::tempdir().unwrap();
    let folder = xtask::OutputFolder::prepare(&place.path().join("out"), 0).unwrap();
    xtask::write_outputs(&folder, &record).unwrap();
    let summary = std::fs::read_to_string(folder.finish().unwrap().join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let fields: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(fields.contains(&"fit") && !fields.contains(&"steps") && !fields.contains(&"qrs"), "{fields:?}");
    assert_eq!(summary["skipped"]["base"], record.base.as_ref().unwrap().skipped);
    assert!(
        summary["features"][0]["base"]["value"].is_number() && summary["features"][0].get("tuned").is_none()
    );
    assert!(summary["features"][0]["coefficient"]["value"].is_number());
}
