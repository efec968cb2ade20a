//! A program at a terminal of its own (pty(7)), and who sits there.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::PATIENCE;

/// A terminal with a program; the program is killed on drop.
pub struct Terminal {
    name: String,
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What was read and not looked at yet.
    seen: String,
}

impl Terminal {
    /// Starts a program at a new terminal of this size.
    ///
    /// # Errors
    ///
    /// When there is no terminal, or no program.
    pub fn start(command: &Command, rows: u16, columns: u16) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("cannot open a terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(path.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        let master = File::from(master);
        tcsetwinsize(&master, size(rows, columns))?;
        // setsid(1) makes the terminal the program's own, which only the program itself could do.
        let mut program = Command::new("setsid");
        program.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        program.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?)).stderr(Stdio::from(slave));
        let name = command.get_program().to_string_lossy().into_owned();
        let child = program.spawn().with_context(|| format!("cannot run {name}"))?;
        // The slave's ends in this process go away with it: the screen ends when the program does.
        drop(program);
        let (sink, screen) = channel();
        let mut output = master.try_clone()?;
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sink.send(buffer.get(..count).unwrap_or_default().to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name, child, keyboard: master, screen, seen: String::new() })
    }

    /// Types text.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn type_in(&mut self, text: &str) -> Result<()> {
        Ok(self.keyboard.write_all(text.as_bytes())?)
    }

    /// Gives the terminal another size; its program is told by `SIGWINCH`.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        Ok(tcsetwinsize(&self.keyboard, size(rows, columns))?)
    }

    /// Waits until `text` stands on the screen, and gives what came before it and it.
    ///
    /// # Panics
    ///
    /// When it does not come in time.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(end) => panic!("{}: no {text:?} on its screen ({end}), but {:?}", self.name, self.seen),
            }
        }
    }

    /// Waits for the program's end: its exit code, and what still came on the screen.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    #[track_caller]
    pub fn end(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end; on its screen: {:?}", self.name, self.seen),
            }
        }
        let status = self.child.wait().unwrap_or_else(|error| panic!("cannot wait for {}: {error}", self.name));
        (status.code(), std::mem::take(&mut self.seen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself. What it started ends with its terminal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
