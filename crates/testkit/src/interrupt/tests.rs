use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{Here, clean_up_when_interrupted};
use crate::Spawned;

/// Not a test: a program that has something to take apart, and is stuck at it if it is told so.
#[test]
#[ignore = "the program that the other test interrupts"]
fn interrupted() {
    let stuck = std::env::args().any(|word| word == "stuck");
    let _here = Here::new(move || {
        eprintln!("taken apart");
        if stuck {
            loop {
                std::thread::park();
            }
        }
    });
    clean_up_when_interrupted().unwrap();
    eprintln!("ready");
    loop {
        std::thread::park();
    }
}

#[test]
fn the_first_signal_cleans_up_and_the_second_ends_the_program() {
    for stuck in [false, true] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "interrupt::tests::interrupted", "--ignored", "--nocapture"]);
        if stuck {
            // Another name of a test, which there is not.
            command.arg("stuck");
        }
        let mut program = Spawned::start(command);
        program.line_with("ready");
        let pid = Pid::from_raw(program.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        program.line_with("taken apart");
        if stuck {
            kill_process(pid, Signal::INT).unwrap();
        }
        let (code, _) = program.end();
        assert_eq!(code, Some(130));
    }
}
