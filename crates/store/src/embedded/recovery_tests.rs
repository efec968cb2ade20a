//! What must survive: killing, torn writes, a full disk. The store under attack runs in a child process: this test
//! program again, asked for one of the ignored tests below.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::tests::{noise, options};
use super::{Embedded, OnFatal, Options};
use crate::model::{Recorder, plain};
use crate::{CommitError, Expect, LoadError, Loaded, Revision, Store, Txn};

const DIR: &str = "CORTEN_STORE_TEST_DIR";

/// The command that runs one ignored test of this program in `dir`.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &format!("embedded::recovery_tests::{test}"), "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped());
    command
}

fn dir() -> PathBuf {
    std::env::var_os(DIR).expect("run by another test").into()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn load(store: &Embedded) -> Loaded {
    store.load(Box::new(Recorder::default())).await.unwrap()
}

/// Commits from several tasks for ever, and says so after each answer.
#[test]
#[ignore = "child of killed_in_the_middle"]
fn commits_for_ever() {
    runtime().block_on(async {
        let store = Arc::new(Embedded::open(options(&dir())).unwrap());
        let start = store.latest().await.unwrap();
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for n in 0.. {
                        let name = format!("{start}-{writer}-{n}");
                        let txn = Txn::new().put(format!("/a/{name}"), Expect::Absent, name.clone()).put(
                            format!("/b/{name}"),
                            Expect::Absent,
                            name.clone(),
                        );
                        let committed = store.commit(txn).await.unwrap();
                        println!("done {name} {}", committed.revision);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

#[test]
fn killed_in_the_middle() {
    let dir = TempDir::new().unwrap();
    let mut acknowledged: HashMap<String, Revision> = HashMap::new();
    for round in 1..=4 {
        let mut child = child("commits_for_ever", dir.path()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        while let Some(Ok(line)) = lines.next() {
            // The last line may be cut short by the kill: nobody was told then.
            let words: Vec<&str> = line.split(' ').collect();
            if let ["done", name, revision] = words[..]
                && let Ok(revision) = revision.parse()
            {
                acknowledged.insert(name.to_owned(), revision);
                count += 1;
            }
            if count == 100 * round {
                child.kill().unwrap();
            }
        }
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(count >= 100 * round);
        runtime().block_on(async {
            let store = Embedded::open(options(dir.path())).unwrap();
            let loaded = load(&store).await;
            let found: BTreeMap<_, _> = loaded.base.iter().chain(&loaded.history).map(|change| (&*change.key, change.revision)).collect();
            for (name, revision) in &acknowledged {
                // An acknowledged line can only be wrong about a revision if its digits were cut.
                assert_eq!(found.get(&*format!("/b/{name}")), Some(revision), "{name} was acknowledged");
            }
            let halves = |prefix: &str| found.keys().filter(|key| key.starts_with(prefix)).count();
            assert_eq!(halves("/a/"), halves("/b/"), "transactions are whole");
            let revisions: Vec<u64> = loaded.history.iter().map(|change| change.revision.get()).collect();
            assert_eq!(revisions, (1..=loaded.revision.get()).collect::<Vec<_>>(), "no gap, none used twice");
            let next = store.commit(Txn::new().put("/last", Expect::Any, "x")).await.unwrap();
            assert_eq!(next.revision, loaded.revision.next());
        });
    }
}

/// The journal that was written last.
fn journal(store: &Path) -> PathBuf {
    let mut journals: Vec<_> = std::fs::read_dir(store.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    journals.sort();
    journals.pop().unwrap()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The length of a journal's content.
fn content_length(journal: &Path) -> u64 {
    let bytes = std::fs::read(journal).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

/// Drops the preallocated zeros after a journal's content, which would only be copied again and again, and
/// returns its length.
fn trim_journal(journal: &Path) -> u64 {
    let length = content_length(journal);
    OpenOptions::new().write(true).open(journal).unwrap().set_len(length).unwrap();
    length
}

#[test]
fn a_torn_tail_is_cut_off() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("store");
    runtime().block_on(async {
        let store = Embedded::open(options(dir.path())).unwrap();
        for n in 0..40 {
            let txn = Txn::new().put(format!("/a/{n}"), Expect::Absent, noise(300)).put(format!("/b/{n}"), Expect::Absent, noise(300));
            store.commit(txn).await.unwrap();
        }
        store.close().await;
    });
    let length = trim_journal(&journal(&whole));
    let mut kept = Vec::new();
    for (round, torn) in [1, 5, 9, 30, 200, 400, 700, 3000].into_iter().enumerate() {
        for zeros in [false, true] {
            let place = dir.path().join(format!("torn-{round}-{zeros}"));
            let copy = place.join("store");
            copy_dir(&whole, &copy);
            let file = OpenOptions::new().write(true).open(journal(&copy)).unwrap();
            file.set_len(length - torn).unwrap();
            if zeros {
                // As a preallocated file looks whose last pages were never written.
                file.set_len(length + 100_000).unwrap();
            }
            drop(file);
            runtime().block_on(async {
                let store = Embedded::open(options(&place)).unwrap();
                let loaded = load(&store).await;
                assert_eq!(loaded.revision.get() % 2, 0, "transactions are whole");
                let revisions: Vec<u64> = loaded.history.iter().map(|change| change.revision.get()).collect();
                assert_eq!(revisions, (1..=loaded.revision.get()).collect::<Vec<_>>());
                kept.push(loaded.revision.get());
                // It goes on from there, and what follows survives in turn.
                store.commit(Txn::new().put("/next", Expect::Absent, "x")).await.unwrap();
                store.close().await;
                let store = Embedded::open(options(&place)).unwrap();
                assert_eq!(load(&store).await.revision, loaded.revision.next());
            });
        }
    }
    assert_eq!(kept.first(), Some(&78), "only what was torn is lost: {kept:?}");
    assert!(kept.is_sorted_by(|a, b| a >= b), "{kept:?}");
}

/// Overwrites bytes of a journal.
fn damage(journal: &Path, at: u64) {
    let file = OpenOptions::new().write(true).open(journal).unwrap();
    file.write_all_at(&[0; 64], at).unwrap();
}

#[test]
fn a_hole_in_the_last_write_is_discarded_and_one_before_it_is_an_error() {
    let dir = TempDir::new().unwrap();
    let journal = |dir: &Path| journal(&dir.join("store"));
    let mut ends = Vec::new();
    runtime().block_on(async {
        let store = Embedded::open(options(dir.path())).unwrap();
        for n in 0..3 {
            let txn =
                Txn::new().put(format!("/a/{n}"), Expect::Absent, noise(10_000)).put(format!("/b/{n}"), Expect::Absent, noise(10_000));
            store.commit(txn).await.unwrap();
            ends.push(content_length(&journal(dir.path())));
        }
        store.close().await;
    });
    trim_journal(&journal(dir.path()));
    // In the middle of a value of the last transaction, of the one before it.
    let (last, earlier) = (ends[1] + 5000, ends[0] + 5000);
    let torn = dir.path().join("torn");
    copy_dir(&dir.path().join("store"), &torn.join("store"));
    damage(&journal(&torn), last);
    runtime().block_on(async {
        let store = Embedded::open(options(&torn)).unwrap();
        assert_eq!(load(&store).await.revision, Revision(4));
        let next = store.commit(Txn::new().put("/next", Expect::Absent, "x")).await.unwrap();
        assert_eq!(next.revision, Revision(5));
        store.close().await;
        assert_eq!(load(&Embedded::open(options(&torn)).unwrap()).await.revision, Revision(5));
    });

    damage(&journal(dir.path()), earlier);
    let before = std::fs::read(journal(dir.path())).unwrap();
    let error = Embedded::open(options(dir.path())).unwrap_err();
    assert!(matches!(&error, LoadError::Storage { reason, .. } if reason.contains("ChecksumMismatch")), "{error}");
    assert_eq!(std::fs::read(journal(dir.path())).unwrap(), before, "the evidence is left as it was");
}

/// In a file system of its own that is too small for it.
#[test]
#[ignore = "child of a_full_disk_is_an_error_and_not_a_loss"]
fn fills_the_disk() {
    runtime().block_on(async {
        let dir = dir();
        let reserve = 6 << 20;
        let store = Embedded::open(Options { reserve_bytes: reserve, ..options(&dir) }).unwrap();
        let put = |n: u64| Txn::new().put(format!("/k/{n}"), Expect::Absent, noise(100_000));
        let mut written = 0;
        let error = loop {
            match store.commit(put(written)).await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CommitError::NoSpace { .. }), "{error}");
        assert!(written > 10);
        // Deletes still work, and nothing is broken.
        store.commit(Txn::new().delete("/k/0", Expect::Any)).await.unwrap();
        store.close().await;

        // Without a reserve the writes themselves fail in the end: the store stops.
        let store = Embedded::open(options(&dir)).unwrap();
        let error = loop {
            match store.commit(put(written)).await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CommitError::Fatal(_)), "{error}");
        let after = store.commit(Txn::new().delete("/k/1", Expect::Any)).await.unwrap_err();
        assert!(matches!(after, CommitError::Fatal(_)), "{after}");
        store.close().await;

        // With room again, everything that was acknowledged is there.
        std::fs::remove_file(dir.join("ballast")).unwrap();
        let store = Embedded::open(options(&dir)).unwrap();
        let loaded = load(&store).await;
        let changes: Vec<_> = loaded.base.iter().chain(&loaded.history).map(plain).collect();
        for n in 0..written {
            assert!(changes.iter().any(|(_, key, _)| **key == *format!("/k/{n}")), "{n} was acknowledged");
        }
        let next = store.commit(put(1_000_000)).await.unwrap();
        assert_eq!(next.revision, loaded.revision.next());
        store.close().await;

        // As the server runs it: the process ends.
        let store = Embedded::open(Options { on_fatal: OnFatal::Abort, ..options(&dir) }).unwrap();
        println!("about to abort");
        for n in 2_000_000.. {
            store.commit(put(n)).await.unwrap();
        }
    });
}

#[test]
fn a_full_disk_is_an_error_and_not_a_loss() {
    let dir = TempDir::new().unwrap();
    let child = child("fills_the_disk", dir.path());
    // The mount is private to the child: it goes with it.
    let script = "mount -t tmpfs -o size=28m tmpfs \"$1\" && head -c 6000000 /dev/zero > \"$1/ballast\" && shift && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .arg(child.get_program())
        .args(child.get_args())
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.signal(), Some(6), "{out}\n{err}");
    assert!(out.contains("about to abort"), "{out}\n{err}");
    assert!(err.contains("the store cannot write"), "{err}");
}
