use corten_shim::protocol::{Exit, Known};

use super::life;
use crate::container::{Exited, Life};
use crate::record::Start;

const EXIT: Exit = Exit { code: 3, oom: false, finished_at: 9 };

fn known(pid: Option<i32>, exit: Option<Exit>) -> Known {
    Known { container: "c".to_owned(), pid, exit }
}

fn started() -> Option<Start> {
    Some(Start::Done { pid: 7, at: 5 })
}

#[test]
fn a_container_that_still_runs_is_adopted_with_its_start_time() {
    assert_eq!(life(started(), None, Some(&known(Some(7), None)), true, true), Life::Running { pid: 7, at: 5 });
}

#[test]
fn one_that_ended_while_nobody_looked_has_its_exit() {
    assert_eq!(life(started(), Some(EXIT), None, true, true), Life::Exited(Exited::seen(&EXIT, 5)));
}

#[test]
fn one_that_was_never_started_can_still_be() {
    assert_eq!(life(None, None, None, true, true), Life::Created);
    assert_eq!(life(None, None, Some(&known(None, None)), true, true), Life::Created, "its start goes on");
}

#[test]
fn after_a_reboot_or_without_its_shim_the_end_is_unknown() {
    for (ready, boot) in [(false, true), (false, false)] {
        let Life::Exited(exited) = life(started(), None, None, ready, boot) else { panic!("it runs") };
        assert_eq!((exited.code, exited.reason, exited.started_at), (255, "Unknown", 5));
    }
}

#[test]
fn one_that_could_not_be_started_says_so() {
    let failed = Some(Start::Failed { message: "no such file".to_owned(), at: 4 });
    let Life::Exited(exited) = life(failed, None, None, true, true) else { panic!("it runs") };
    assert_eq!((exited.code, exited.reason, exited.message.as_str()), (128, "StartError", "no such file"));
}

#[test]
fn a_loss_that_was_noticed_keeps_its_time() {
    let lost = Some(Start::Lost { started_at: 5, at: 8 });
    assert_eq!(life(lost, None, None, false, true), Life::Exited(Exited::unseen(5, 8)));
}
