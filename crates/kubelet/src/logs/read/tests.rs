use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn write(path: &Path, messages: &[&str]) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for message in messages {
        file.write_all(format!("2026-01-01T00:00:00Z stdout F {message}\n").as_bytes()).unwrap();
    }
}

/// Receives until `wanted` bytes are there, or until the end.
async fn receive(source: &mut Receiver<Bytes>, wanted: usize) -> String {
    let mut got = Vec::new();
    let all = async {
        while got.len() < wanted {
            let Some(bytes) = source.recv().await else { return };
            got.extend_from_slice(&bytes);
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn a_log_is_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    write(&path, &["one", "two", "three"]);
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"2026-01-01T00:00:00Z stdout F cut").unwrap();
    let (sink, mut source) = channel(4);
    let options = Options { tail: Some(2), ..Options::default() };
    let log = Log::open(&path, options).await.unwrap();
    log.send(&path, std::future::pending(), &sink).await.unwrap();
    drop(sink);
    assert_eq!(receive(&mut source, usize::MAX).await, "two\nthree\ncut\n");
}

#[tokio::test]
async fn a_log_that_does_not_exist_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = Log::open(&dir.path().join("0.log"), Options::default()).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_log_is_followed_over_its_rotation_until_the_container_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    write(&path, &["one"]);
    let (sink, mut source) = channel(4);
    let (stop, stopped) = oneshot::channel::<()>();
    let log = Log::open(&path, Options { follow: true, ..Options::default() }).await.unwrap();
    let at = path.clone();
    let task = tokio::spawn(async move { log.send(&at, async { drop(stopped.await) }, &sink).await });
    assert_eq!(receive(&mut source, 4).await, "one\n");
    write(&path, &["two"]);
    assert_eq!(receive(&mut source, 4).await, "two\n");
    std::fs::rename(&path, dir.path().join("0.log.20260101-000000")).unwrap();
    write(&path, &["three"]);
    assert_eq!(receive(&mut source, 6).await, "three\n");
    write(&path, &["four"]);
    stop.send(()).unwrap();
    assert_eq!(receive(&mut source, usize::MAX).await, "four\n");
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn nobody_who_receives_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    write(&path, &[]);
    let (sink, source) = channel(4);
    let log = Log::open(&path, Options { follow: true, ..Options::default() }).await.unwrap();
    drop(source);
    tokio::time::timeout(PATIENCE, log.send(&path, std::future::pending(), &sink)).await.unwrap().unwrap();
}

/// Follows a log whose reader is slow, and gives what it hears in the end.
async fn heard_after(rotations: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    write(&path, &["first"]);
    // One chunk fits: the reader holds up everything behind it.
    let (sink, mut source) = channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let log = Log::open(&path, Options { follow: true, ..Options::default() }).await.unwrap();
    let at = path.clone();
    let task = tokio::spawn(async move { log.send(&at, async { drop(stopped.await) }, &sink).await });
    assert_eq!(receive(&mut source, 6).await, "first\n");
    rotations(&path);
    stop.send(()).unwrap();
    let heard = receive(&mut source, usize::MAX).await;
    task.await.unwrap().unwrap();
    heard
}

#[tokio::test]
async fn many_rotations_at_once_lose_nothing_and_repeat_nothing() {
    let expected: String = (0..50).map(|number| format!("{number}\n")).collect();
    let heard = heard_after(|path| {
        for number in 0..50 {
            write(path, &[&number.to_string()]);
            if number % 10 == 9 {
                std::fs::rename(path, path.with_extension(format!("log.20260101-0000{:02}", number / 10))).unwrap();
                write(path, &[]);
            }
        }
    });
    assert_eq!(heard.await, expected);
}

#[tokio::test]
async fn a_file_that_was_removed_under_its_reader_is_read_to_its_end() {
    let heard = heard_after(|path| {
        write(path, &["one"]);
        let old = path.with_extension("log.20260101-000000");
        std::fs::rename(path, &old).unwrap();
        write(&path.with_extension("log.20260101-000001"), &["two"]);
        write(path, &["three"]);
        std::fs::remove_file(old).unwrap();
    });
    assert_eq!(heard.await, "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_line_over_a_rotation_stays_one() {
    let heard = heard_after(|path| {
        std::fs::write(path, "2026-01-01T00:00:00Z stdout F first\n2026-01-01T00:00:00Z stdout P be").unwrap();
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"gin\n").unwrap();
        std::fs::rename(path, path.with_extension("log.20260101-000000")).unwrap();
        std::fs::write(path, "2026-01-01T00:00:01Z stdout F ning\n").unwrap();
    });
    assert_eq!(heard.await, "beginning\n");
}

#[tokio::test]
async fn lines_that_are_no_text_are_unharmed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let record = [b"2026-01-01T00:00:00Z stdout F ", &*bytes, b"\n"].concat();
    std::fs::write(&path, record).unwrap();
    let (sink, mut source) = channel(4);
    Log::open(&path, Options::default()).await.unwrap().send(&path, std::future::pending(), &sink).await.unwrap();
    assert_eq!(source.recv().await.unwrap(), [&*bytes, b"\n"].concat());
}

#[tokio::test]
async fn without_inotify_a_log_is_followed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    write(&path, &["one"]);
    let (sink, mut source) = channel(4);
    let mut log = Log::open(&path, Options { follow: true, ..Options::default() }).await.unwrap();
    log.changes = Some(Changes::Looked);
    let at = path.clone();
    let task = tokio::spawn(async move { log.send(&at, std::future::pending(), &sink).await });
    assert_eq!(receive(&mut source, 4).await, "one\n");
    write(&path, &["two"]);
    assert_eq!(receive(&mut source, 4).await, "two\n");
    drop(source);
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
}
