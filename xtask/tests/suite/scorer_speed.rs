//! The speed of a feature that a Python program computes.

use std::time::{Duration, Instant};

use xtask::{Columns, CommandSettings, ExternalScorer, ScoredSample, workspace_root};

use crate::common::external::{folder, has_python};

/// 100,000 different texts of 100 characters, for one and two processes. It needs one process for 10,000 texts a second.
#[test]
#[ignore = "sweep: measures the values a second of a Python feature; seconds"]
fn sweep_a_python_feature_gives_ten_thousand_values_a_second() {
    if !has_python() {
        return;
    }
    let folder = folder(
        "from disco_scorer import serve\ndef length(texts, **columns):\n    return [len(text) for text in texts]\nserve(length)\n",
    );
    let texts: Vec<String> = (0..100_000).map(|number| format!("{number:0100}")).collect();
    let columns = Columns::from([("job".to_owned(), "baker".into())]);
    let sample = |text| ScoredSample {
        context: "The baker said:",
        text,
        tokens: 20,
        finished: true,
        columns: &columns,
    };
    let samples: Vec<_> = texts.iter().map(|text| sample(text.as_str())).collect();
    for (workers, batch) in [(1, 1), (1, 16), (1, 256), (2, 256), (1, 4096)] {
        let settings = CommandSettings {
            run: ["python3", "scorers.py"].map(String::from).into(),
            program: "python3".into(),
            folder: folder.path().into(),
            environment: [("PYTHONPATH".to_owned(), workspace_root().join("xtask/scorers").into())].into(),
            workers,
            batch,
            timeout: Duration::from_secs(60),
            start_timeout: Duration::from_secs(60),
            retries: 0,
        };
        let scorer = ExternalScorer::from_command(vec!["length".into()], settings).unwrap();
        let asked = if batch == 1 { &samples[..10_000] } else { &samples[..] };
        let start = Instant::now();
        let rows = scorer.rows(asked).unwrap();
        let rate = asked.len() as f64 / start.elapsed().as_secs_f64();
        assert!(rows.iter().all(|row| *row == [Ok(100.0)]));
        let start = Instant::now();
        scorer.rows(asked).unwrap();
        let known = asked.len() as f64 / start.elapsed().as_secs_f64();
        eprintln!("workers {workers}, batch {batch}: {rate:.0} samples a second, {known:.0} that are known");
        assert!(batch < 256 || rate > 10_000.0, "{rate}");
    }
}
