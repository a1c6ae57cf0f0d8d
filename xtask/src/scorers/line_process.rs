//! A program that is kept alive, and answers each line with a line.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{process_group::ProcessGroup, standard_error::StandardError};
use crate::{http::LONGEST_ANSWER, terminal::beginning};

/// The time between two looks at whether the program still runs: descendants of it may hold its output open after its end.
const LOOK: Duration = Duration::from_millis(50);
/// The time that the last bytes of a program that has ended may take to arrive.
const LAST_BYTES: Duration = Duration::from_millis(500);
/// The time that a program has for its end once its input is closed.
const GRACE: Duration = Duration::from_secs(1);

/// A program that is kept alive: each line of its standard input is answered by one line of its standard output. Its standard
/// error is shown, each line after the program's name.
///
/// It runs in a process group of its own, so that Ctrl-C in a terminal does not reach it, and so that the processes that it
/// starts end with it. Every line waits for at most the time that its caller gives; at most three answers of [`LONGEST_ANSWER`] bytes
/// are in memory. After a [`LineFault`] it has ended. Dropping it closes its input, waits for a second, and kills what is left.
#[derive(Debug)]
pub(super) struct LineProcess {
    child: Child,
    group: ProcessGroup,
    /// `None` once the input is closed.
    input: Option<Sender<Vec<u8>>>,
    output: Receiver<Output>,
    standard_error: Arc<StandardError>,
}

/// An event of the threads that read and write.
#[derive(Debug)]
enum Output {
    Line(Vec<u8>),
    TooLong,
    /// The end of the output.
    End,
    Unreadable(io::Error),
    /// The program does not read its input.
    InputClosed,
}

/// The reason why a program gave no answer.
#[derive(Debug)]
pub(super) enum LineFault {
    /// It could not be started.
    Start(io::Error),
    /// It ended; with the last lines of its standard error.
    Ended { status: Option<ExitStatus>, said: String },
    /// It closed its standard output while it runs.
    OutputClosed,
    /// It closed its standard input while it runs.
    InputClosed,
    /// It gave no answer within this time.
    TimedOut(Duration),
    /// It answered with a line of more than [`LONGEST_ANSWER`] bytes.
    TooLong,
    /// It answered without being asked; with the beginning of the answer.
    Unasked(String),
    /// Its output could not be read.
    Unreadable(io::Error),
}

impl fmt::Display for LineFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(cause) => write!(f, "it could not be started: {cause}"),
            Self::Ended { status, said } => {
                match status {
                    Some(status) => write!(f, "it ended without an answer ({status})")?,
                    None => write!(f, "it ended without an answer")?,
                }
                if said.is_empty() { Ok(()) } else { write!(f, "; its last words on standard error: {said}") }
            }
            Self::OutputClosed => write!(f, "it closed its standard output without an answer"),
            Self::InputClosed => write!(f, "it closed its standard input before it had read the batch"),
            Self::TimedOut(limit) => write!(f, "it gave no answer within {} s", limit.as_secs_f64()),
            Self::TooLong => write!(f, "it answered with a line of more than {} MiB", LONGEST_ANSWER >> 20),
            Self::Unasked(line) => write!(
                f,
                "it wrote a line that nobody had asked for, where only answers belong (other lines are for standard error): {line}"
            ),
            Self::Unreadable(cause) => write!(f, "its output could not be read: {cause}"),
        }
    }
}

impl LineProcess {
    /// Starts `command`; `name` stands before the lines of its standard error.
    ///
    /// # Errors
    /// [`LineFault::Start`].
    pub(super) fn start(mut command: Command, name: &str) -> Result<Self, LineFault> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, group) = ProcessGroup::spawn(&mut command).map_err(LineFault::Start)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three are piped");
        };
        let (input, lines) = channel();
        // One event is kept: a program that floods waits in its own write.
        let (events, output) = sync_channel(1);
        let standard_error = Arc::new(StandardError::new(name));
        let written = events.clone();
        let heard = Arc::clone(&standard_error);
        let threads = [
            thread::Builder::new().spawn(move || write_lines(stdin, &lines, &written)),
            thread::Builder::new().spawn(move || read_lines(stdout, &events)),
            thread::Builder::new().spawn(move || hear(stderr, &heard)),
        ];
        let mut process = Self { child, group, input: Some(input), output, standard_error };
        for started in threads {
            if let Err(cause) = started {
                process.kill();
                return Err(LineFault::Start(cause));
            }
        }
        Ok(process)
    }

    /// Sends `line`, without its newline, and waits for at most `limit` for the line that answers it. After a fault the program
    /// has ended.
    ///
    /// # Errors
    /// [`LineFault`].
    pub(super) fn ask(&mut self, line: Vec<u8>, limit: Duration) -> Result<Vec<u8>, LineFault> {
        let answer = self.exchange(line, limit);
        if answer.is_err() {
            self.kill();
        }
        answer
    }

    /// Closes its input, so that it ends by itself.
    pub(super) fn close(&mut self) {
        self.input = None;
    }

    fn exchange(&mut self, mut line: Vec<u8>, limit: Duration) -> Result<Vec<u8>, LineFault> {
        match self.output.try_recv() {
            Ok(Output::Line(line)) => return Err(LineFault::Unasked(beginning(&line))),
            Ok(other) => return Err(self.fault(other)),
            Err(_) => {}
        }
        line.push(b'\n');
        let Some(input) = &self.input else { return Err(LineFault::InputClosed) };
        if input.send(line).is_err() {
            return Err(self.ended_or(LineFault::InputClosed));
        }
        let start = Instant::now();
        // Since when no answer can follow but one that is already on its way, and the fault if none is.
        let mut doomed: Option<(Instant, LineFault)> = None;
        loop {
            let Some(left) = limit.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(LineFault::TimedOut(limit));
            };
            match self.output.recv_timeout(left.min(LOOK)) {
                Ok(Output::Line(answer)) => return Ok(answer),
                Ok(Output::InputClosed) => doomed = Some((Instant::now(), LineFault::InputClosed)),
                Ok(other) => return Err(self.fault(other)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended_or(LineFault::OutputClosed)),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if doomed.is_none() && self.group.leader_has_ended(&mut self.child) {
                doomed = Some((Instant::now(), LineFault::OutputClosed));
            }
            if let Some((_, fault)) = doomed.take_if(|(since, _)| since.elapsed() >= LAST_BYTES) {
                return Err(self.ended_or(fault));
            }
        }
    }

    fn fault(&mut self, event: Output) -> LineFault {
        match event {
            Output::Line(line) => LineFault::Unasked(beginning(&line)),
            Output::TooLong => LineFault::TooLong,
            Output::End => self.ended_or(LineFault::OutputClosed),
            Output::InputClosed => self.ended_or(LineFault::InputClosed),
            Output::Unreadable(cause) => LineFault::Unreadable(cause),
        }
    }

    /// [`LineFault::Ended`] if the program ends within the time of [`LAST_BYTES`], else `otherwise`.
    fn ended_or(&mut self, otherwise: LineFault) -> LineFault {
        let start = Instant::now();
        while !self.group.leader_has_ended(&mut self.child) {
            if start.elapsed() >= LAST_BYTES {
                return otherwise;
            }
            thread::sleep(LOOK / 10);
        }
        // The thread that reads the standard error may have the last words yet to read.
        thread::sleep(LOOK);
        self.kill();
        let status = self.child.wait().ok();
        LineFault::Ended { status, said: self.standard_error.last_words() }
    }

    /// Ends the program and the processes of its group at once.
    fn kill(&mut self) {
        self.close();
        self.group.kill(&mut self.child);
    }
}

impl Drop for LineProcess {
    fn drop(&mut self) {
        self.close();
        let start = Instant::now();
        while !self.group.leader_has_ended(&mut self.child) && start.elapsed() < GRACE {
            thread::sleep(LOOK / 10);
        }
        self.kill();
    }
}

/// Writes the lines that are sent, until the sender or the program's input is closed.
fn write_lines(mut stdin: ChildStdin, lines: &Receiver<Vec<u8>>, events: &SyncSender<Output>) {
    for line in lines {
        if stdin.write_all(&line).and_then(|()| stdin.flush()).is_err() {
            // Nobody listens any more if this fails.
            let _ = events.send(Output::InputClosed);
            return;
        }
    }
}

/// Sends each line of the program's output, its newline taken off.
fn read_lines(stdout: ChildStdout, events: &SyncSender<Output>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let event = match reader.by_ref().take(LONGEST_ANSWER as u64 + 1).read_until(b'\n', &mut line) {
            Err(cause) => Output::Unreadable(cause),
            Ok(0) => Output::End,
            Ok(_) if line.len() > LONGEST_ANSWER => Output::TooLong,
            // The end in the middle of a line.
            Ok(_) if line.last() != Some(&b'\n') => Output::End,
            Ok(_) => {
                line.pop();
                Output::Line(line)
            }
        };
        let last = !matches!(event, Output::Line(_));
        if events.send(event).is_err() || last {
            return;
        }
    }
}

/// Shows each line of the program's standard error.
fn hear(stderr: ChildStderr, heard: &StandardError) {
    /// Longer lines are shown in pieces.
    const PIECE: u64 = 4096;
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while reader.by_ref().take(PIECE).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        heard.line(&String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)));
        line.clear();
    }
}
