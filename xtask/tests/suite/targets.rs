//! Targets of every form on a model whose texts can be listed: the exact means of the fitted target are as asked.

use std::{fs, path::Path};

use disco_core::Estimate;
use xtask::{
    BaseModel, Clock, Error, Finished, ModelRecord, ProgressTarget, RunPlan, Spec, StageError, StartMode,
    TextContext, TextScorers, read_spec, render_report, run_pipeline, terminal_table,
};

use crate::common::speech::{Speech, base, control, run_speeches, speeches};

/// A run on two contexts, which are rows of a table with a column `share`, and these features.
fn spec(folder: &Path, features: &str) -> Spec {
    fs::write(folder.join("x.csv"), "context,share\ncalm,0.7\nstormy,0.2\n").unwrap();
    let text = format!(
        "seed = 5\n[model]\nsource = \"embedded\"\n[contexts]\nfile = \"x.csv\"\n{features}\n[fit]\nsamples = 8000\n[tune]\nsteps = 60\n\
         samples_per_step = 256\ncontexts_per_step = {}\nlearning_rate = 0.1\n[sample]\ncount = 2000\nacceptance_rate = 0.5\n",
        if features.contains("held_out") { 1 } else { 2 }
    );
    read_spec("test.toml", &text, folder).unwrap_or_else(|error| panic!("{error}"))
}

fn run(spec: &Spec) -> Finished<Speech> {
    let mut policy = base(&spec.contexts.items);
    let frozen = disco_tuner::Policy::freeze(&policy).unwrap();
    let plan = RunPlan::new(spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
    let model = ModelRecord { name: "speeches".into(), facts: Default::default() };
    run_pipeline(&plan, model, &BaseModel::new(frozen), &mut policy, &mut Clock::default(), None).unwrap()
}

/// The exact mean of a function of the text under the fitted target, in each context.
fn exact(spec: &Spec, finished: &Finished<Speech>, value: impl Fn(&str) -> f64) -> Vec<f64> {
    let space = speeches();
    let start = base(&spec.contexts.items);
    let frozen = disco_tuner::Policy::freeze(&start).unwrap();
    let target = finished.fit.target(&frozen);
    let mean = |context| {
        let p = space.normalise(&target, context).unwrap();
        space.outcomes().iter().map(|x| p.log_prob(x).exp() * value(xtask::TextSample::text(x))).sum()
    };
    spec.contexts.items.iter().map(mean).collect()
}

/// Four standard errors: one seed in ten thousand would fail by chance, and the seed is fixed.
#[track_caller]
fn near(found: f64, asked: f64, error: &Estimate) {
    assert!((found - asked).abs() <= 4.0 * error.std_error + 1e-9, "{found}, asked {asked}: {error:?}");
}

fn has(word: &'static str) -> impl Fn(&str) -> f64 {
    move |text| f64::from(u8::from(text.contains(word)))
}

const KING: &str = "[[features]]\nname = \"king\"\nkind = \"contains\"\ntext = \"king\"\n";
const NIGHT: &str = "[[features]]\nname = \"night\"\nkind = \"contains\"\ntext = \"night\"\n";

#[test]
fn a_mean_per_context_holds_in_each_and_columns_say_which() {
    let place = tempfile::tempdir().unwrap();
    for (target, asked) in
        [("mean = 0.5\nper_context = true", [0.5, 0.5]), ("mean = { column = \"share\" }", [0.7, 0.2])]
    {
        let spec = spec(place.path(), &format!("{KING}{target}\n{NIGHT}"));
        let finished = run(&spec);
        let found = exact(&spec, &finished, has("king"));
        let rows = finished.record.contexts();
        let of = |name: &str| rows.iter().filter(|row| row.name == name).cloned().collect::<Vec<_>>();
        for (row, (found, asked)) in of("king").iter().zip(found.iter().zip(asked)) {
            assert_eq!(row.asked, Some(asked));
            near(*found, asked, &row.fitted.unwrap());
            assert!((row.tuned.unwrap().value - asked).abs() < 0.12, "{row:?}");
            assert!((row.qrs.unwrap().value - asked).abs() < 0.1, "{row:?}");
            assert!(row.coefficient.is_some());
        }
        // A feature without a target is measured, and has no coefficient.
        let night = exact(&spec, &finished, has("night"));
        for (row, night) in of("night").iter().zip(night) {
            near(row.fitted.unwrap().value, night, &row.fitted.unwrap());
            assert_eq!((row.asked, row.coefficient), (None, None));
        }
        let report = render_report(&finished.record);
        assert!(report.contains("Context by context") && !report.contains("on average over contexts"));
        assert!(finished.record.qrs.unwrap().log_betas.len() == 2);
    }
}

#[test]
fn a_mean_over_contexts_is_called_one() {
    let place = tempfile::tempdir().unwrap();
    let spec = spec(place.path(), &format!("{KING}mean = 0.5\n"));
    let finished = run(&spec);
    let found = exact(&spec, &finished, has("king"));
    near((found[0] + found[1]) / 2.0, 0.5, &finished.record.features()[0].fitted.unwrap().fitted);
    let report = render_report(&finished.record);
    assert!(report.contains("Asked <em>on average over contexts</em>"));
    assert!(terminal_table(&finished.record).contains("Exact rejection from the base accepts"));
}

/// `E[night | king] = 0.8`, in all contexts together and in each.
#[test]
fn a_conditional_mean_holds_among_the_samples_of_its_condition() {
    let place = tempfile::tempdir().unwrap();
    for per_context in [false, true] {
        let spec = spec(
            place.path(),
            &format!("{KING}{NIGHT}mean = 0.8\ngiven = \"king\"\nper_context = {per_context}\n"),
        );
        let finished = run(&spec);
        let king = exact(&spec, &finished, has("king"));
        let both = exact(&spec, &finished, |text| has("king")(text) * has("night")(text));
        let row = &finished.record.features()[1];
        assert_eq!(row.given.as_deref(), Some("king"));
        near((both[0] + both[1]) / (king[0] + king[1]), 0.8, &row.fitted.unwrap().fitted);
        assert!((row.tuned.unwrap().value - 0.8).abs() < 0.15, "{row:?}");
        // The course of tuning shows it too: `night` alone has a mean of about 0.6.
        let steps = &finished.record.tuning.as_ref().unwrap().steps;
        let last: f64 = steps[50..].iter().map(|step| step.moments[1].unwrap().value).sum::<f64>() / 10.0;
        assert!((last - 0.8).abs() < 0.12, "{last}");
        if per_context {
            let rows = finished.record.contexts();
            let own = rows.iter().filter(|row| row.name == "night");
            own.zip(both.iter().zip(&king)).for_each(|(row, (both, king))| {
                near(both / king, 0.8, &row.fitted.unwrap());
            });
        }
        // The base is not changed by it: P(night) there, and the condition's own share is free.
        assert!(row.base.unwrap().value < 0.7, "{row:?}");
    }
}

#[test]
fn ranges_and_rewards_tilt_as_little_as_they_must() {
    let place = tempfile::tempdir().unwrap();
    let stops = "[[features]]\nname = \"stops\"\nkind = \"count\"\ntext = \".\"\n";
    let text = format!(
        "{stops}between = [1.0, 1.4]\n{KING}\n{NIGHT}[[rewards]]\nfeature = \"king\"\nbeta = 0.5\n[[rewards]]\nfeature = \"night\"\n\
         beta = -2.0\n"
    );
    let spec = spec(place.path(), &text);
    let finished = run(&spec);
    let row = &finished.record.features()[0];
    assert!((row.tolerance - 0.2).abs() < 1e-12);
    // 0.6 stops under the base: the nearest end of the range is reached.
    let found = exact(&spec, &finished, |text| text.matches('.').count() as f64);
    near((found[0] + found[1]) / 2.0, 1.0, &row.fitted.unwrap().fitted);
    let kings = &finished.record.features()[1];
    let exact_kings = exact(&spec, &finished, has("king"));
    let fitted = kings.fitted.unwrap();
    near((exact_kings[0] + exact_kings[1]) / 2.0, fitted.fitted.value, &fitted.fitted);
    assert_eq!(fitted.coefficient.unwrap().value, 2.0);
    assert_eq!(finished.record.features()[2].fitted.unwrap().coefficient.unwrap().value, -0.5);
    assert!(fitted.fitted.value > kings.base.unwrap().value + 0.1);
    let report = render_report(&finished.record);
    assert!(report.contains("<h2>Rewards</h2>") && report.contains("1 to 1.4"));
    // A count has no known bound.
    assert!(finished.record.target.unwrap().exact_rejection.is_none());
}

#[test]
fn contexts_in_which_a_target_cannot_be_had_are_named_at_once() {
    let place = tempfile::tempdir().unwrap();
    let rare = "[[features]]\nname = \"rare\"\nkind = \"contains\"\ntext = \"kingdom\"\nmean = 0.5\nper_context = true\n";
    let spec = spec(place.path(), rare);
    let mut policy = base(&spec.contexts.items);
    let frozen = disco_tuner::Policy::freeze(&policy).unwrap();
    let plan = RunPlan::new(&spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
    let model = ModelRecord { name: "speeches".into(), facts: Default::default() };
    let error = run_pipeline(&plan, model, &BaseModel::new(frozen), &mut policy, &mut Clock::default(), None)
        .unwrap_err();
    let said = error.to_string();
    assert!(said.contains("calm") && said.contains("stormy") && said.contains("rare"), "{said}");
}

#[test]
fn weights_of_contexts_weigh_every_mean() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("w.csv"), "context,n\ncalm,3\nstormy,1\n").unwrap();
    let text = "seed = 5\n[model]\nsource = \"embedded\"\n[contexts]\nfile = \"w.csv\"\nweight = \"n\"\n[[features]]\nname = \"sword\"\n\
                kind = \"contains\"\ntext = \"sword\"\nmean = 0.3\n[fit]\nsamples = 8000\n[tune]\nsteps = 60\nsamples_per_step = 256\n\
                learning_rate = 0.1\n[sample]\ncount = 2000\nacceptance_rate = 0.5\n";
    let spec = read_spec("test.toml", text, place.path()).unwrap();
    let finished = run(&spec);
    let found = exact(&spec, &finished, has("sword"));
    let row = &finished.record.features()[0];
    near(0.75 * found[0] + 0.25 * found[1], 0.3, &row.fitted.unwrap().fitted);
    assert!((found[0] + found[1]) / 2.0 > 0.33, "{found:?}");
    assert!(
        (row.tuned.unwrap().value - 0.3).abs() < 0.1 && (row.qrs.unwrap().value - 0.3).abs() < 0.07,
        "{row:?}"
    );
}

#[test]
fn samples_that_cannot_be_fitted_are_kept_and_fitted_again() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("run");
    let kept = place.path().join("run.measured.jsonl");
    let feature = |word: &str| {
        format!("[[features]]\nname = \"word\"\nkind = \"contains\"\ntext = \"{word}\"\nmean = 0.5\n")
    };
    let control = || control(StartMode::Restart);
    let error = run_speeches(&spec(place.path(), &feature("kingdom")), &out, &control()).unwrap_err();
    assert!(matches!(&error, Error::Stage(StageError::Unfit { path, .. }) if *path == kept), "{error}");
    let lines = fs::read_to_string(&kept).unwrap();
    assert_eq!(lines.lines().count(), 8001);
    // Another seed has samples of its own, and leaves these alone until it needs their place.
    let other = Spec { seed: 6, ..spec(place.path(), &feature("king")) };
    run_speeches(&other, &place.path().join("other"), &control()).unwrap();
    assert_eq!(fs::read_to_string(&kept).unwrap(), lines);
    let fresh = place.path().join("fresh");
    run_speeches(&spec(place.path(), &feature("king")), &fresh, &control()).unwrap();
    let target = |folder: &Path| fs::read_to_string(folder.join("target.json")).unwrap();
    // A file that is not as it was written is not used, and is gone after the fit.
    let rows: Vec<&str> = lines.lines().collect();
    for changed in [
        lines.replacen("\"log_prob\":-", "\"log_prob\":-9", 1),
        [&rows[..9], &rows[10..]].concat().join("\n"),
        [&rows[..9], &rows[8..]].concat().join("\n"),
        rows[..99].join("\n"),
        lines[..lines.len() - 9].to_owned(),
    ] {
        assert!(changed != lines);
        fs::write(&kept, changed).unwrap();
        run_speeches(&spec(place.path(), &feature("king")), &out, &control()).unwrap();
        assert!(!kept.exists() && target(&out) == target(&fresh));
    }
    fs::write(&kept, &lines).unwrap();
    // A target that can be had is fitted on them; then they are gone. The result is that of a run that drew for itself.
    run_speeches(&spec(place.path(), &feature("king")), &out, &control()).unwrap();
    assert!(!kept.exists());
    assert_eq!(target(&out), target(&fresh));
}

#[test]
fn contexts_that_are_held_out_are_measured_at_the_end() {
    let place = tempfile::tempdir().unwrap();
    let spec = spec(place.path(), &format!("held_out = 0.5\n{KING}mean = 0.5\n"));
    assert_eq!((spec.contexts.items.len(), spec.contexts.held_out.len()), (1, 1));
    let all: Vec<TextContext> = spec.contexts.items.iter().chain(&spec.contexts.held_out).cloned().collect();
    let mut policy = base(&all);
    let frozen = disco_tuner::Policy::freeze(&policy).unwrap();
    let plan = RunPlan::new(&spec, &TextScorers::new(), ProgressTarget::Hidden).unwrap();
    let model = ModelRecord { name: "speeches".into(), facts: Default::default() };
    let finished =
        run_pipeline(&plan, model, &BaseModel::new(frozen), &mut policy, &mut Clock::default(), None)
            .unwrap();
    let held_out = finished.record.held_out.clone().unwrap();
    assert_eq!(held_out.contexts, 1);
    // A table has a row of its own for each context: what it learned in one changes nothing in the other.
    let (before, after) = (held_out.base[0], held_out.tuned[0]);
    assert!(
        (before.value - after.value).abs() <= 4.0 * before.std_error.hypot(after.std_error),
        "{held_out:?}"
    );
    assert!(render_report(&finished.record).contains("Held-out contexts"));
}
