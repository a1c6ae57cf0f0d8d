//! Targets written to files and read again.

use std::{fs, path::Path, sync::Arc};

use disco_core::{Feature, Scorer, Space, StreamRng, Table, feature, predicate};
use disco_ebm::{Constraint, ConstraintKind, Error, Fit, FitConfig, Measured, SavedTarget, features};
use rand::SeedableRng;

fn uniform() -> Table<u32> {
    Space::new(0..10u32).expect("distinct").uniform()
}

fn even() -> Arc<dyn Feature<(), u32>> {
    Arc::new(predicate("even", |_: &(), x: &u32| x.is_multiple_of(2)))
}

fn size() -> Arc<dyn Feature<(), u32>> {
    Arc::new(feature("size", |_: &(), x: &u32| f64::from(*x)))
}

fn constraints() -> [Constraint<(), u32>; 2] {
    [
        Constraint::pointwise(even()),
        Constraint::moment(size(), 5.0).expect("finite").within(0.1).expect("positive"),
    ]
}

fn sampled() -> Fit<(), u32> {
    let mut rng = StreamRng::seed_from_u64(1);
    let measured =
        Measured::draw(&uniform(), vec![()], &features(&constraints()), 2000, &mut rng).expect("measures");
    measured.fit(&constraints(), &FitConfig::default()).expect("fits")
}

fn exact() -> Fit<(), u32> {
    let measured = Measured::exact(&uniform(), uniform().space(), vec![()], &features(&constraints()))
        .expect("measures");
    measured.fit(&constraints(), &FitConfig::default()).expect("fits")
}

#[test]
fn a_target_comes_back_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    // Exact fits have infinite effective sample sizes, which JSON does not know.
    for (name, fit) in [("sampled.json", sampled()), ("exact.json", exact())] {
        let path = folder.path().join(name);
        fit.save(&path).expect("writes");
        let saved = SavedTarget::load(&path).expect("reads");
        assert_eq!(saved.feature_names().collect::<Vec<_>>(), ["even", "size"]);
        assert_eq!(saved.report(), fit.report());
        assert_eq!(saved, fit.to_saved());
        // In any order.
        let bound = saved.bind([size(), even()]).expect("binds");
        let samples: Vec<u32> = (0..10).collect();
        let samples: Vec<&u32> = samples.iter().collect();
        let scores = |fit: &Fit<(), u32>| fit.target(uniform()).log_scores(&(), &samples).expect("scores");
        assert_eq!(scores(&bound), scores(&fit), "bit for bit");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("lists").collect();
    assert_eq!(left.len(), 2, "no temporary file is left: {left:?}");
}

#[test]
fn targets_from_before_skewness_was_reported_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let fit = sampled();
    let mut json = serde_json::to_value(fit.to_saved()).expect("serialises");
    for constraint in json["report"]["constraints"].as_array_mut().expect("a list") {
        for field in ["base_skewness", "achieved_skewness"] {
            constraint.as_object_mut().expect("fields").remove(field).expect("it is written");
        }
    }
    let saved = write(folder.path(), &json.to_string()).expect("reads");
    for (read, written) in saved.report().constraints.iter().zip(&fit.report().constraints) {
        assert_eq!((read.base_skewness, read.achieved_skewness), (None, None));
        assert_eq!((read.base, read.achieved), (written.base, written.achieved));
    }
    assert!(saved.report().warnings().is_empty());
}

#[test]
fn files_of_the_first_version_are_read() {
    // Version 1 had neither these parts of the report nor anything but shared coefficients.
    let folder = tempfile::tempdir().expect("a folder");
    let fit = exact();
    let mut json = serde_json::to_value(fit.to_saved()).expect("serialises");
    json["version"] = 1.into();
    json["report"].as_object_mut().expect("fields").remove("by_context").expect("it is written");
    let saved = write(folder.path(), &json.to_string()).expect("reads");
    assert!(saved.report().by_context.is_empty());
    let bound = saved.bind([even(), size()]).expect("binds");
    let coefficients = |fit: &Fit<(), u32>| fit.tilt().coefficients().collect::<Vec<_>>();
    assert_eq!(coefficients(&bound), coefficients(&fit));
}

#[test]
fn a_term_needs_a_factor_for_each_context() {
    let folder = tempfile::tempdir().expect("a folder");
    let kind = ConstraintKind::Moment { target: 0.4, tolerance: 0.0 };
    let constraints =
        [Constraint::new(even(), kind).and_then(Constraint::per_context).expect("a mean in each context")];
    let measured = Measured::exact(&uniform(), uniform().space(), vec![()], &features(&constraints));
    let fit = measured.expect("measures").fit(&constraints, &FitConfig::default()).expect("fits");
    let good = serde_json::to_value(fit.to_saved()).expect("serialises");
    assert!(write(folder.path(), &good.to_string()).expect("reads").bind([even()]).is_ok());
    let mut lacking = good.clone();
    lacking["terms"][0]["by_context"] = serde_json::json!([]);
    let mut twice = good.clone();
    twice["contexts"] = serde_json::json!([null, null]);
    let factor = twice["terms"][0]["by_context"][0].clone();
    twice["terms"][0]["by_context"].as_array_mut().expect("a list").push(factor);
    for bad in [lacking, twice] {
        assert!(write(folder.path(), &bad.to_string()).expect("reads").bind([even()]).is_err());
    }
    let mut nowhere = good.clone();
    nowhere["contexts"] = serde_json::json!([]);
    nowhere["terms"][0]["by_context"] = serde_json::json!([]);
    nowhere["report"]["by_context"] = serde_json::json!([]);
    let mut unasked = serde_json::to_value(exact().to_saved()).expect("serialises");
    unasked["contexts"] = serde_json::json!([null]);
    for (bad, features) in [(nowhere, vec![even()]), (unasked, vec![even(), size()])] {
        match write(folder.path(), &bad.to_string()).expect("reads").bind(features).err() {
            Some(Error::Core(disco_core::Error::Invalid { field, .. })) => {
                assert_eq!(field, "contexts of a saved target");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn features_are_found_by_name() {
    let saved = exact().to_saved();
    match saved.bind([even()]).err() {
        Some(Error::MissingFeature { feature, given }) => {
            assert_eq!((feature.as_str(), given), ("size", vec!["even".to_owned()]))
        }
        other => panic!("{other:?}"),
    }
    let other: Arc<dyn Feature<(), u32>> = Arc::new(predicate("odd", |_: &(), x: &u32| x % 2 == 1));
    match saved.bind([even(), size(), other]).err() {
        Some(Error::UnknownFeature { feature, known }) => {
            assert_eq!((feature.as_str(), known), ("odd", vec!["even".to_owned(), "size".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(saved.bind([even(), even(), size()]).err(), Some(Error::DuplicateFeature { .. })));
}

fn write(folder: &Path, text: &str) -> Result<SavedTarget, Error> {
    let path = folder.join("target.json");
    fs::write(&path, text).expect("writes");
    SavedTarget::load(&path)
}

#[test]
fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let good = serde_json::to_string(&exact().to_saved()).expect("serialises");
    assert!(write(folder, &good).is_ok());
    for bad in [
        &good[..good.len() / 2],
        "",
        "[]",
        &good.replace("\"terms\"", "\"term\""),
        &good.replace("\"pointwise\"", "\"sometimes\""),
        &good.replacen("{\"version\":2,", "{\"version\":2,\"more\":2,", 1),
    ] {
        match write(folder, bad).err() {
            Some(error @ Error::Json { .. }) => {
                let message = error.to_string();
                assert!(message.contains("target.json") && message.contains("line"), "{message}");
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
    match write(folder, &good.replacen("\"version\":2", "\"version\":7", 1)).err() {
        Some(Error::Version { found: 7, expected: 2, .. }) => {}
        other => panic!("{other:?}"),
    }
    // A coefficient for a pointwise constraint, or none for a moment, is found when features are bound.
    let start = good.find("\"coefficient\":null").expect("the pointwise constraint has none");
    let mut edited = good.clone();
    edited.replace_range(start..start + "\"coefficient\":null".len(), "\"coefficient\":0.5");
    let bound = write(folder, &edited).expect("well-formed").bind([even(), size()]);
    assert!(matches!(bound.err(), Some(Error::Core(disco_core::Error::Invalid { .. }))));
    assert!(matches!(SavedTarget::load(folder.join("none.json")).err(), Some(Error::Io { .. })));
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let fit = exact();
    // The name is taken by a folder, so that the last step, the renaming, fails.
    let path = folder.path().join("target.json");
    fs::create_dir(&path).expect("a folder");
    assert!(matches!(fit.save(&path).err(), Some(Error::Io { .. })));
    assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    assert!(matches!(fit.save(folder.path().join("no/such/folder.json")).err(), Some(Error::Io { .. })));
    assert!(matches!(fit.save("/").err(), Some(Error::Io { .. })));
    // A good file survives a failed write of another.
    let good = folder.path().join("good.json");
    fit.save(&good).expect("writes");
    fit.save(&good).expect("writes again");
    assert!(SavedTarget::load(&good).is_ok());
}
