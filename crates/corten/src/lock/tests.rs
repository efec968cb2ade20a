use super::*;

#[test]
fn a_second_taker_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    assert_eq!(Lock::holder(&path).unwrap(), None);
    let lock = Lock::take(&path).unwrap();
    assert_eq!(Lock::holder(&path).unwrap().unwrap().as_raw_nonzero().get(), std::process::id() as i32);
    let refused = Lock::take(&path).unwrap_err().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    drop(lock);
    assert_eq!(Lock::holder(&path).unwrap(), None);
    Lock::take(&path).unwrap();
}
