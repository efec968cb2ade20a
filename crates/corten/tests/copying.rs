//! `kubectl cp`: directories into a container and out of it again, byte for byte.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop where it is")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use corten_testkit::{Cluster, Pod, Spawned, tools};

const CORTEN: &str = env!("CARGO_BIN_EXE_corten");

/// Copying takes as long as it takes, on a loaded machine and without optimisation.
const COPYING: Duration = Duration::from_secs(300);

/// All of 1 GiB is for `cargo xtask test --full`.
fn size() -> usize {
    if corten_testkit::full() { 1 << 30 } else { 64 << 20 }
}

/// Bytes without a pattern (xorshift), the same at every run.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            chunk.copy_from_slice(&self.0.to_le_bytes()[..chunk.len()]);
        }
    }

    fn write(&mut self, path: &Path, mut size: usize) {
        let mut file = BufWriter::new(File::create(path).unwrap());
        let mut buffer = vec![0; 64 << 10];
        while size > 0 {
            let count = size.min(buffer.len());
            self.fill(&mut buffer[..count]);
            file.write_all(&buffer[..count]).unwrap();
            size -= count;
        }
    }
}

/// A directory as people have them: one large file, many small ones, odd names, depth, modes.
fn make(directory: &Path, size: usize) {
    let mut noise = Noise(0x2545_F491_4F6C_DD1D);
    fs::create_dir_all(directory.join("deep/er/and er")).unwrap();
    noise.write(&directory.join("large.bin"), size / 4 * 3);
    for number in 0..256 {
        noise.write(&directory.join(format!("deep/small-{number:03}.bin")), size / 4 / 256);
    }
    fs::write(directory.join("deep/er/empty"), "").unwrap();
    fs::write(directory.join("deep/er/and er/größer & 'odd'.txt"), "ü\r\n\0").unwrap();
    let script = directory.join("run.sh");
    fs::write(&script, "#!/bin/sh\necho ran\n").unwrap();
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The files below a directory: length and a checksum of their bytes.
fn look(directory: &Path) -> BTreeMap<String, (u64, u64)> {
    fn walk(root: &Path, directory: &Path, found: &mut BTreeMap<String, (u64, u64)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
                continue;
            }
            let metadata = fs::metadata(&path).unwrap();
            let (mut file, mut sum, mut buffer) = (File::open(&path).unwrap(), 0xcbf2_9ce4_8422_2325_u64, vec![0; 1 << 16]);
            loop {
                let count = file.read(&mut buffer).unwrap();
                if count == 0 {
                    break;
                }
                // FNV-1a, eight bytes at a time: enough to tell one byte that is wrong or elsewhere.
                for chunk in buffer[..count].chunks(8) {
                    let mut word = [0; 8];
                    word[..chunk.len()].copy_from_slice(chunk);
                    sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, (metadata.len(), sum));
        }
    }
    let mut found = BTreeMap::new();
    walk(directory, directory, &mut found);
    found
}

fn copy(cluster: &Cluster, from: &str, to: &str) {
    let mut copying = Spawned::start(cluster.kubectl_command(&["cp", "--retries=0", from, to]));
    let (code, said) = copying.end_within(COPYING);
    assert_eq!(code, Some(0), "{from} → {to}: {}", String::from_utf8_lossy(&said));
}

/// There and back, and compared with what it was.
fn there_and_back(cluster: &Cluster, size: usize) {
    let work = tempfile::tempdir_in(cluster.data()).unwrap();
    let (there, back) = (work.path().join("there"), work.path().join("back"));
    make(&there, size);
    let before = look(&there);
    cluster.kubectl(&["exec", "store", "--", "rm", "-rf", "/tmp/there"]);
    copy(cluster, there.to_str().unwrap(), "store:/tmp/there");
    let sums = cluster.kubectl(&["exec", "store", "--", "sh", "-c", "cd /tmp/there && find . -type f | wc -l && ./run.sh"]);
    assert_eq!(sums.split_whitespace().collect::<Vec<_>>(), [&*before.len().to_string(), "ran"]);
    copy(cluster, "store:/tmp/there", back.to_str().unwrap());
    let after = look(&back);
    // kubectl keeps modes on the way in (`run.sh` ran), and not on the way out.
    let names: Vec<_> = before.iter().filter(|(name, was)| after.get(*name) != Some(was)).map(|(name, _)| name).collect();
    assert!(names.is_empty() && after.len() == before.len(), "{names:?}");
}

#[test]
fn a_directory_is_copied_there_and_back() {
    let cluster = Cluster::with_busybox(CORTEN);
    cluster.run(&Pod::new("store", "exec sleep 100000"));
    there_and_back(&cluster, size());
}

#[test]
fn every_kubectl_copies() {
    let mut cluster = Cluster::with_busybox(CORTEN);
    cluster.run(&Pod::new("store", "exec sleep 100000"));
    // 1.28 speaks SPDY, the newest WebSocket.
    for minor in tools::kubectls(&[28, 30, 35]) {
        cluster.use_kubectl(tools::kubectl_version(minor).unwrap());
        there_and_back(&cluster, 4 << 20);
    }
}
