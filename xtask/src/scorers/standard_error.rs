//! The standard error of a program: shown while it runs, its last lines kept for messages.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use crate::terminal::{cut, say};

/// Lines that are shown of one process, and their bytes together.
const SHOWN: usize = 1000;
const SHOWN_BYTES: usize = 256 << 10;
/// Lines that are kept, and the characters of each in a message.
const KEPT: usize = 8;
const LONGEST: usize = 300;

/// The lines of a program's standard error.
#[derive(Debug)]
pub(super) struct StandardError {
    name: String,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    shown: usize,
    bytes: usize,
    last: VecDeque<String>,
}

impl StandardError {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), lines: Mutex::default() }
    }

    /// Shows a line after the program's name, and keeps it.
    pub(super) fn line(&self, line: &str) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.shown < SHOWN && lines.bytes < SHOWN_BYTES {
            say(format_args!("{}: {line}", self.name));
            (lines.shown, lines.bytes) = (lines.shown + 1, lines.bytes + line.len());
            if lines.shown == SHOWN || lines.bytes >= SHOWN_BYTES {
                say(format_args!("{}: no more of its lines are shown", self.name));
            }
        }
        if lines.last.len() == KEPT {
            lines.last.pop_front();
        }
        lines.last.push_back(line.into());
    }

    /// The last lines.
    pub(super) fn last_words(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let last = lines.last.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
        last.map(|line| cut(line, LONGEST)).collect::<Vec<_>>().join(" | ")
    }
}
