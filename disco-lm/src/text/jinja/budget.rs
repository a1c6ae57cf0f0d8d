//! Limits of a rendering: steps, memory, depth and output. A template is a stranger's program, and each of its operations pays here
//! before it runs.

use std::{cell::Cell, fmt};

/// Steps of one rendering: evaluated nodes, and what long operations cost beyond them.
const STEPS: u64 = 5_000_000;

/// Bytes of all values that one rendering makes, those that it has dropped included.
const BYTES: u64 = 256 << 20;

/// Bytes of a rendered text.
const OUTPUT: u64 = 64 << 20;

/// Statements, expressions and macros inside of each other, while a template runs.
const DEPTH: usize = 400;

/// Lists and dicts inside of each other. Dropping and printing values recurse this far.
pub(super) const NESTING: usize = 100;

/// A template that cannot be read, refuses its input, or does something that this engine does not.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(super) message: String,
    pub(super) line: Option<usize>,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None }
    }

    /// The same failure with the line of the template, unless it has one.
    pub(super) fn at(mut self, line: usize) -> Self {
        self.line.get_or_insert(line);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}

pub(super) type Outcome<T> = Result<T, Failure>;

/// The limits of one rendering, and how much of them is used.
#[derive(Debug, Default)]
pub(super) struct Budget {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    output: Cell<u64>,
    depth: Cell<usize>,
}

impl Budget {
    /// Pays for an operation that looks at `count` things.
    pub(super) fn steps(&self, count: usize) -> Outcome<()> {
        self.steps.set(self.steps.get().saturating_add(1 + count as u64 / 16));
        if self.steps.get() > STEPS {
            return Err(Failure::new(format!("it takes more than {STEPS} steps, and is stopped")));
        }
        Ok(())
    }

    /// Pays for a value of `bytes` bytes, before it is made.
    pub(super) fn bytes(&self, bytes: usize) -> Outcome<()> {
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
        if self.bytes.get() > BYTES {
            return Err(Failure::new(format!(
                "it makes values of more than {} MiB, and is stopped",
                BYTES >> 20
            )));
        }
        self.steps(bytes / 8)
    }

    /// Pays for text that is added to the output.
    pub(super) fn output(&self, bytes: usize) -> Outcome<()> {
        self.output.set(self.output.get().saturating_add(bytes as u64));
        if self.output.get() > OUTPUT {
            return Err(Failure::new(format!("it writes more than {} MiB, and is stopped", OUTPUT >> 20)));
        }
        self.steps(bytes / 64)
    }

    /// Goes one level deeper, until [`leave`](Self::leave).
    pub(super) fn enter(&self) -> Outcome<()> {
        if self.depth.get() >= DEPTH {
            return Err(Failure::new(format!(
                "it calls itself too deeply: more than {DEPTH} levels of statements and expressions"
            )));
        }
        self.depth.set(self.depth.get() + 1);
        Ok(())
    }

    pub(super) fn leave(&self) {
        self.depth.set(self.depth.get() - 1);
    }

    /// Runs `inner` one level deeper.
    pub(super) fn deeper<T>(&self, inner: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        self.enter()?;
        let outcome = inner();
        self.leave();
        outcome
    }
}
