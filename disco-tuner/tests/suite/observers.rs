//! Observers that write for other programs, and one that runs beside.

use std::time::Duration;

use disco_tuner::{
    Background, Control, InMemory, Observer, ObserverError, Outcome, Problem, StepReport, Tuner, TunerConfig,
};

use crate::common::{Kind, World, target};

pub(crate) fn tune(config: TunerConfig, observer: &mut dyn Observer) -> Outcome {
    let (world, target) = (World::new(2, 30), target(Kind::Mixed));
    let problem = Problem::new(&world.contexts, &target)
        .with_samples_shown(3, |context, outcome| format!("{outcome} in {context}"));
    Tuner::new(config).unwrap().run(&mut world.policy(), &problem, observer).unwrap()
}

pub(crate) fn config() -> TunerConfig {
    TunerConfig { steps: 6, metrics_every: 2, ..TunerConfig::default() }
}

#[test]
fn an_infinite_metric_is_known_as_such_in_json() {
    let json = |value: f64| serde_json::to_string(&disco_tuner::Metric::from(value)).unwrap();
    let found = [0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].map(json);
    let expected = ["0.5", "\"inf\"", "\"-inf\"", "null"].map(|value| format!("{{\"value\":{value}}}"));
    assert_eq!(found, expected);
}

#[test]
fn samples_are_shown_at_measured_steps() {
    let mut observed = InMemory::default();
    tune(config(), &mut observed);
    let counts: Vec<usize> = observed.reports().iter().map(|report| report.shown.len()).collect();
    assert_eq!(counts, [3, 0, 3, 0, 3, 3]);
    assert!(observed.reports()[0].shown[0].text.contains(" in "));
}

/// Forwards reports slowly, and fails at some steps.
struct Slow {
    delay: Duration,
    fail: bool,
    told: std::sync::mpsc::Sender<u64>,
}

impl Observer for Slow {
    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        std::thread::sleep(self.delay);
        self.told.send(report.step)?;
        if self.fail { Err("no route to host".into()) } else { Ok(Control::Continue) }
    }
}

#[test]
fn a_slow_observer_in_the_background_holds_nothing_up() {
    let (told, heard) = std::sync::mpsc::channel();
    let slow = |delay, fail| Slow { delay: Duration::from_millis(delay), fail, told: told.clone() };
    // A queue for all reports: nothing is lost, though the run ends long before the last is written.
    let outcome = tune(config(), &mut Background::new(slow(20, false), 10));
    assert_eq!((outcome.step, outcome.observer_failures), (6, 0));
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    // A queue for one report: others are dropped and counted.
    let outcome = tune(config(), &mut Background::new(slow(300, false), 1));
    let written = heard.try_iter().count() as u64;
    assert!(
        outcome.observer_failures >= 1 && written + outcome.observer_failures == 6,
        "{outcome:?}, {written}"
    );
    assert!(outcome.first_observer_failure.unwrap().1.contains("too slow"));
    // Failures of the observer itself become known.
    let outcome = tune(config(), &mut Background::new(slow(0, true), 10));
    assert!(outcome.observer_failures >= 1);
    assert!(outcome.first_observer_failure.unwrap().1.contains("no route to host"));
}

#[test]
fn an_observer_that_never_answers_does_not_hold_up_the_end() {
    let (told, _heard) = std::sync::mpsc::channel();
    let stuck = || Slow { delay: Duration::from_secs(3600), fail: false, told: told.clone() };
    let start = std::time::Instant::now();
    let patience = Duration::from_millis(100);
    let outcome = tune(config(), &mut Background::new(stuck(), 2).with_patience(patience));
    assert!(outcome.first_observer_failure.is_some());
    // Left without an end, as by a run that failed to start.
    let mut left = Background::new(stuck(), 2).with_patience(patience);
    left.start(&config(), 0).unwrap();
    let mut observed = InMemory::default();
    tune(config(), &mut observed);
    left.step(&observed.reports()[0]).unwrap();
    drop(left);
    assert!(start.elapsed() < Duration::from_secs(10), "held up for {:?}", start.elapsed());
}

/// Dies in the middle of the run.
struct Dying;

impl Observer for Dying {
    fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
        assert!(report.step < 3, "a bug of the logger's");
        Ok(Control::Continue)
    }
}

#[test]
fn a_logger_that_dies_in_the_background_takes_nothing_with_it() {
    let (world, target) = (World::new(2, 30), target(Kind::Mixed));
    let (problem, tuner) = (Problem::new(&world.contexts, &target), Tuner::new(config()).unwrap());
    let [mut alone, mut watched] = [world.policy(), world.policy()];
    tuner.run(&mut alone, &problem, &mut ()).unwrap();
    let outcome = tuner.run(&mut watched, &problem, &mut Background::new(Dying, 10)).unwrap();
    assert_eq!((outcome.step, outcome.reason), (6, disco_tuner::StopReason::Finished));
    assert!(outcome.first_observer_failure.unwrap().1.contains("the observer's thread has died"));
    assert_eq!(watched.logits(), alone.logits());
}

#[cfg(feature = "console")]
#[test]
fn the_console_needs_no_terminal() {
    let outcome = tune(config(), &mut disco_tuner::Console::new(["js_target_policy", "log_z"]));
    assert_eq!(outcome.observer_failures, 0);
}

#[cfg(feature = "tensorboard")]
mod tensorboard {
    use std::{collections::BTreeMap, fs, path::Path, process::Command};

    use super::{InMemory, Observer, config, tune};
    use disco_tuner::{Control, ObserverError, StepReport, TensorBoard};

    /// Both: what is written is compared with what was told.
    struct Both(TensorBoard, InMemory);

    impl Observer for Both {
        fn step(&mut self, report: &StepReport) -> Result<Control, ObserverError> {
            self.0.step(report)?;
            self.1.step(report)
        }
    }

    fn write(folder: &Path) -> InMemory {
        let mut both = Both(TensorBoard::new(folder).unwrap(), InMemory::default());
        both.0.start(&config(), 0).unwrap();
        assert_eq!(tune(config(), &mut both).observer_failures, 0);
        both.1
    }

    /// The fields of a protocol buffer: number, and content of those with a length.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let content = match key & 7 {
                0 => varint(&mut bytes).to_le_bytes().to_vec(),
                kind => {
                    let length = match kind {
                        1 => 8,
                        5 => 4,
                        _ => varint(&mut bytes) as usize,
                    };
                    let (content, rest) = bytes.split_at(length);
                    bytes = rest;
                    content.to_vec()
                }
            };
            found.push((key >> 3, content));
        }
        found
    }

    /// The number of records of an event file, and its scalars by tag and step.
    fn read(folder: &Path) -> (usize, BTreeMap<(String, u64), f32>) {
        let path = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut scalars, mut records) = (&bytes[..], BTreeMap::new(), 0);
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let event = fields(&rest[12..12 + length]);
            rest = &rest[16 + length..];
            records += 1;
            let step = event.iter().find(|field| field.0 == 2).map(|field| &field.1);
            let step = u64::from_le_bytes(step.unwrap()[..].try_into().unwrap());
            for (_, summary) in event.iter().filter(|field| field.0 == 5) {
                for (_, value) in fields(summary) {
                    let value = fields(&value);
                    let tag = String::from_utf8(value[0].1.clone()).unwrap();
                    if let Some((_, number)) = value.iter().find(|field| field.0 == 2) {
                        scalars.insert((tag, step), f32::from_le_bytes(number[..].try_into().unwrap()));
                    }
                }
            }
        }
        (records, scalars)
    }

    #[test]
    fn event_files_hold_every_number() {
        let folder = tempfile::tempdir().unwrap();
        let told = write(folder.path());
        let (records, scalars) = read(folder.path());
        assert_eq!(records, 1 + 1 + 6);
        for report in told.reports() {
            for (name, metric) in report.metrics.iter().filter(|(_, metric)| metric.value.is_finite()) {
                assert_eq!(scalars[&(name.clone(), report.step)], metric.value as f32);
            }
            assert_eq!(scalars[&("gradient_norm".to_owned(), report.step)], report.gradient_norm as f32);
        }
    }

    /// Single precision ends at 3.4e38: a number beyond it is no infinity.
    #[test]
    fn numbers_beyond_single_precision_are_left_out_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let (world, target) = (super::World::new(1, 12), super::target(super::Kind::Distributional));
        let numbers = [("huge", 1e300), ("low", -1e39), ("large", 3e38), ("none", f64::NAN)];
        let mut problem = super::Problem::new(&world.contexts, &target)
            .with_statistic("endless", |_: &[&usize]| f64::NEG_INFINITY)
            .unwrap();
        for (name, number) in numbers {
            problem = problem.with_statistic(name, move |_: &[&usize]| number).unwrap();
        }
        let tuner = super::Tuner::new(config()).unwrap();
        let mut board = TensorBoard::new(folder.path()).unwrap();
        tuner.run(&mut world.policy(), &problem, &mut board).unwrap();
        let (_, scalars) = read(folder.path());
        let of = |name: &str| scalars.get(&(format!("statistic/{name}"), 3)).copied();
        assert_eq!((of("huge"), of("low"), of("large")), (None, None, Some(3e38)));
        assert_eq!(of("endless"), Some(f32::NEG_INFINITY));
        assert!(of("none").unwrap().is_nan());
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        for said in ["statistic/huge is 1e300, beyond single precision", "statistic/none is NaN"] {
            assert_eq!(text.matches(said).count(), 1, "{said}");
        }
    }

    /// Runs where DISCO_TENSORBOARD_PYTHON names a Python that has tensorboard.
    #[test]
    fn tensorboard_itself_reads_them() {
        let Some(python) = std::env::var_os("DISCO_TENSORBOARD_PYTHON") else {
            println!("DISCO_TENSORBOARD_PYTHON is not set: not compared with TensorBoard");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let told = write(folder.path());
        let script = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]); events.Reload()
for event in events.Scalars('js_target_policy'): print(event.step, event.value)
print(sorted(events.Tags()['tensors']))
print(events.Tensors('samples')[0].tensor_proto.string_val[0].decode().splitlines()[2].strip())
";
        // A run that goes on after step 3 makes step 4 and those after it again: each is there once.
        let mut resumed = TensorBoard::new(folder.path()).unwrap();
        resumed.start(&config(), 3).unwrap();
        told.reports()[3..].iter().for_each(|report| assert!(resumed.step(report).is_ok()));
        let output = Command::new(python).args(["-c", script]).arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = String::from_utf8(output.stdout).unwrap();
        let mut lines = output.lines();
        for (step, metric) in told.series("js_target_policy") {
            let (found_step, value) = lines.next().unwrap().split_once(' ').unwrap();
            assert_eq!(
                (found_step.parse(), value.parse::<f64>().unwrap() as f32),
                (Ok(step), metric.value as f32)
            );
        }
        assert_eq!(lines.next().unwrap(), "['samples', 'settings']");
        assert_eq!(lines.next().unwrap(), told.reports()[0].shown[0].text);
    }
}
