//! A program that runs beside a test: what it says can be waited for, and it does not outlive the test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::PATIENCE;

/// A running program; killed on drop.
pub struct Spawned {
    name: String,
    child: Child,
    lines: Receiver<Vec<u8>>,
    said: Vec<u8>,
}

impl Spawned {
    /// Starts a program, whose two outputs are read as one.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let words: Vec<_> =
            [command.get_program()].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy().into_owned()).collect();
        let name = words.join(" ");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        let (sink, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|out| Box::new(out) as _), child.stderr.take().map(|err| Box::new(err) as _)];
        for output in outputs.into_iter().flatten() {
            let sink = sink.clone();
            std::thread::spawn(move || {
                let mut output = BufReader::new(output);
                let mut line = Vec::new();
                while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                    if sink.send(std::mem::take(&mut line)).is_err() {
                        break;
                    }
                }
            });
        }
        Self { name, child, lines, said: Vec::new() }
    }

    /// Its standard input; it ends when this is dropped.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that contains `part`.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[track_caller]
    pub fn line_with(&mut self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.extend_from_slice(&line);
                    let line = String::from_utf8_lossy(&line);
                    if line.contains(part) {
                        return line.trim_end().to_owned();
                    }
                }
                Err(end) => panic!("{}: no line with {part:?} ({end}); it said: {}", self.name, self.said()),
            }
        }
    }

    /// Whether it has said `part` so far.
    pub fn has_said(&mut self, part: &str) -> bool {
        self.said.extend(self.lines.try_iter().flatten());
        self.said().contains(part)
    }

    /// All it has said so far that was read.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// Waits for its end: exit code and all that it said.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    #[track_caller]
    pub fn end(&mut self) -> (Option<i32>, Vec<u8>) {
        self.end_within(PATIENCE)
    }

    /// The same with another deadline.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    #[track_caller]
    pub fn end_within(&mut self, patience: Duration) -> (Option<i32>, Vec<u8>) {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.extend_from_slice(&line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} did not end within {patience:?}; it said: {}", self.name, self.said()),
            }
        }
        let status = self.child.wait().unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.name));
        (status.code(), std::mem::take(&mut self.said))
    }

    /// `SIGKILL`.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.kill();
    }
}
