//! The store between processes: this test binary starts itself again.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use super::{Command, File, Path, Stdio, Write, count, docker, fs, image, leftovers, load, named, reopen, store};

const DIRECTORY: &str = "CORTEN_TEST_STORE";

/// Loads what comes on standard input; run by the other tests in a process of its own.
#[tokio::test]
#[ignore = "is the child process of other tests"]
async fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let store = reopen(Path::new(&directory)).await;
    println!("open");
    let names = store.load_archive(std::io::stdin()).await.unwrap();
    let image = store.get(&names[0]).await.unwrap().unwrap();
    store.rootfs(&image).await.unwrap();
}

fn start(directory: &Path, input: Stdio) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::processes::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn two_processes_load_while_a_third_collects() {
    let (directory, store) = store().await;
    let content = "y".repeat(1 << 20);
    let layers: [&[(&str, &str)]; 2] = [&[("/shared", &content)], &[("/x", "1")]];
    let archive = docker(&image(&layers), &["app:1"]);
    let path = directory.path().join("archive.tar");
    fs::write(&path, archive).unwrap();
    for _ in 0..3 {
        let mut children: Vec<_> = (0..2).map(|_| start(directory.path(), File::open(&path).unwrap().into())).collect();
        while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
            store.collect().await.unwrap();
        }
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let loaded = named(&store, "app:1").await;
        let lowers = store.rootfs(&loaded).await.unwrap();
        assert_eq!(fs::read_to_string(lowers[1].join("shared")).unwrap(), content);
        assert_eq!(leftovers(&store), [""; 0]);
        store.remove("app:1").await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_load_leaves_no_half_image() {
    let (directory, store) = store().await;
    let content = "z".repeat(1 << 20);
    let archive = docker(&image(&[&[("/a", &content)], &[("/b", &content)]]), &["app:1"]);
    let blobs = count(&store, "blobs/sha256");
    for length in [100_000, 1_000_000, 1_200_000, 2_090_000, archive.len() - 2_000] {
        let mut child = start(directory.path(), Stdio::piped());
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&archive[..length]).unwrap();
        stdin.flush().unwrap();
        // The pipe holds little, so it has read most of that; a lease says that it is loading.
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).any(|line| line.ends_with("open"));
        assert!(said);
        let deadline = Instant::now() + Duration::from_secs(20);
        while leftovers(&store).is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let reopened = reopen(directory.path()).await;
        assert!(reopened.get("app:1").await.unwrap().is_none());
        assert_eq!(leftovers(&reopened), [""; 0], "after {length} bytes");
        reopened.collect().await.unwrap();
        assert_eq!((count(&reopened, "blobs/sha256"), count(&reopened, "layers")), (blobs, 0));
    }
    load(&store, archive).await.unwrap();
    store.rootfs(&named(&store, "app:1").await).await.unwrap();
}
