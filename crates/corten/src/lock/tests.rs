use std::process::Command;

use super::*;

/// Not a test of its own: takes the lock that another test names, and keeps it until its input ends.
#[test]
fn keep_lock() {
    let Some(path) = std::env::var_os("LOCK_TO_KEEP") else { return };
    let _lock = Lock::take(Path::new(&path)).unwrap();
    println!("\nkept");
    std::io::Read::read_to_end(&mut std::io::stdin(), &mut Vec::new()).unwrap();
}

#[test]
fn a_second_taker_is_told_who_has_it() {
    use std::io::BufRead;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    assert_eq!(Lock::holder(&path).unwrap(), None);
    assert!(!path.exists(), "asking makes no file");
    let mut keeper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lock::tests::keep_lock", "--nocapture"])
        .env("LOCK_TO_KEEP", &path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(keeper.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "kept"));
    assert_eq!(Lock::holder(&path).unwrap(), Some(Pid::from_child(&keeper)));
    let refused = Lock::take(&path).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}", keeper.id())), "{refused}");
    drop(keeper.stdin.take());
    keeper.wait().unwrap();
    assert_eq!(Lock::holder(&path).unwrap(), None);
    Lock::take(&path).unwrap();
}
