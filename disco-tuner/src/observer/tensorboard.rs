//! An observer that writes TensorBoard event files.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Control, Observer, ObserverError, StepReport};
use crate::{
    config::TunerConfig,
    error::Result,
    storage::{crc32c, io_error, make_directory},
};

/// Writes metrics as scalars into an event file that TensorBoard reads.
///
/// Each record is a protocol buffer `Event` in TensorFlow's record format: length, masked CRC-32C of the
/// length, data, masked CRC-32C of the data. Standard errors become scalars `NAME/std_error`.
///
/// Scalars have single precision. NaN and infinities are written as they are. A finite number beyond single
/// precision, 3.4e38, is left out, so that TensorBoard draws a gap there, and is named once in the text `warnings`,
/// beside the warnings of the [reports](StepReport::warnings).
#[derive(Debug)]
pub struct TensorBoard {
    file: File,
    /// The tags with numbers beyond single precision that have a warning.
    too_large: BTreeSet<String>,
}

impl TensorBoard {
    /// A new event file in `directory`, which is created if it does not exist. A run that is resumed adds another file.
    /// TensorBoard joins them, and keeps the second report of a step that was made twice.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be written.
    pub fn new(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        make_directory(directory)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // TensorBoard orders the files of a directory by name.
        let name = format!("events.out.tfevents.{:010}.{:09}.disco", now.as_secs(), now.subsec_nanos());
        let path = directory.join(name);
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let mut file = file.map_err(|cause| io_error(&path, cause))?;
        let mut event = Message::event(0);
        event.bytes(3, b"brain.Event:2");
        event.write(&mut file).map_err(|cause| io_error(&path, cause))?;
        Ok(Self { file, too_large: BTreeSet::new() })
    }
}

impl Observer for TensorBoard {
    fn start(&mut self, config: &TunerConfig, step: u64) -> std::result::Result<(), ObserverError> {
        if step > 0 {
            // `SessionLog.START`: TensorBoard drops the entries of earlier files for this step and later ones.
            let mut log = Message::default();
            log.number(1, 1);
            let mut event = Message::event(step + 1);
            event.bytes(7, &log.0);
            event.write(&mut self.file)?;
        }
        let mut event = Message::event(step);
        let mut summary = Message::default();
        summary.bytes(1, &text("settings", &serde_json::to_string_pretty(config)?).0);
        event.bytes(5, &summary.0);
        Ok(event.write(&mut self.file)?)
    }

    fn step(&mut self, report: &StepReport) -> std::result::Result<Control, ObserverError> {
        let mut summary = Message::default();
        let mut warnings = report.warnings.clone();
        for (tag, value) in report.numbers(["", "/std_error"]) {
            if value.is_finite() && (value as f32).is_infinite() {
                if self.too_large.insert(tag.clone()) {
                    warnings.push(format!("{tag} is {value:e}, beyond single precision, and is left out"));
                }
            } else {
                summary.bytes(1, &Message::scalar(&tag, value).0);
            }
        }
        if !warnings.is_empty() {
            let lines: Vec<String> = warnings.iter().map(|warning| indented(warning)).collect();
            summary.bytes(1, &text("warnings", &lines.join("\n")).0);
        }
        let mut shown = String::new();
        for sample in &report.shown {
            shown += &format!("context {}\n\n{}\n", sample.context, indented(&sample.text));
        }
        if !shown.is_empty() {
            summary.bytes(1, &text("samples", &shown).0);
        }
        let mut event = Message::event(report.step);
        event.bytes(5, &summary.0);
        event.write(&mut self.file)?;
        Ok(Control::Continue)
    }
}

/// A text as an indented block, which TensorBoard displays unchanged.
fn indented(text: &str) -> String {
    format!("    {}\n", text.replace('\n', "\n    "))
}

/// A summary value for TensorBoard's text plugin: a string tensor with the plugin's name as metadata.
fn text(tag: &str, text: &str) -> Message {
    const STRING: u64 = 7;
    let mut plugin = Message::default();
    plugin.bytes(1, b"text");
    let mut metadata = Message::default();
    metadata.bytes(1, &plugin.0);
    let mut dimension = Message::default();
    dimension.number(1, 1);
    let mut shape = Message::default();
    shape.bytes(2, &dimension.0);
    let mut tensor = Message::default();
    tensor.number(1, STRING);
    tensor.bytes(2, &shape.0);
    tensor.bytes(8, text.as_bytes());
    let mut value = Message::default();
    value.bytes(1, tag.as_bytes());
    value.bytes(8, &tensor.0);
    value.bytes(9, &metadata.0);
    value
}

/// A protocol buffer that is being encoded.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// An `Event`: wall time in field 1, step in field 2.
    fn event(step: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut event = Self::default();
        event.key(1, 1);
        event.0.extend(now.to_le_bytes());
        event.number(2, step);
        event
    }

    /// A `Summary.Value`: tag in field 1, a float in field 2.
    fn scalar(tag: &str, value: f64) -> Self {
        let mut scalar = Self::default();
        scalar.bytes(1, tag.as_bytes());
        scalar.key(2, 5);
        scalar.0.extend((value as f32).to_le_bytes());
        scalar
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Writes the message as one record in one call, so that a reader never sees half a record.
    fn write(&self, file: &mut File) -> std::io::Result<()> {
        let masked = |bytes: &[u8]| crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
        let length = (self.0.len() as u64).to_le_bytes();
        let record = [&length[..], &masked(&length), &self.0, &masked(&self.0)].concat();
        file.write_all(&record)
    }
}
