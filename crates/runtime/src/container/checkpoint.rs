//! `CheckpointContainer`: a container's state as an archive, by CRIU.
//!
//! What is written is what the reference's runtimes write, packed as a tar archive at the place that the caller names:
//! `checkpoint/` with CRIU's images, `dump.log` and `stats-dump` of CRIU, `config.dump` and `spec.dump`, and `rootfs-diff.tar`
//! with `deleted.files`, what the container has changed of its image. The container goes on running.
//!
//! <https://kubernetes.io/docs/reference/node/kubelet-checkpoint-api/>

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use corten_cri::v1::CheckpointContainerRequest;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde_json::json;

use super::Container;
use crate::engine::Engine;
use crate::error::{Error, Result, blocking};
use crate::files;

/// Where the program is looked for: the daemon reads no environment.
const PROGRAMS: [&str; 4] = ["/usr/local/sbin/criu", "/usr/sbin/criu", "/usr/local/bin/criu", "/usr/bin/criu"];

/// How long a checkpoint may take if the caller sets no limit: it writes out all of the container's memory.
const PATIENCE: Duration = Duration::from_secs(120);

impl Engine {
    /// Writes a checkpoint of a running container.
    pub(crate) async fn checkpoint_container(self: &Arc<Self>, request: CheckpointContainerRequest) -> Result<()> {
        let container = self.container(&request.container_id)?;
        let pid = container.running()?;
        let target = PathBuf::from(&request.location);
        if !target.is_absolute() {
            return Err(Error::Invalid(format!("checkpoint location {:?} is not an absolute path", request.location)));
        }
        let criu = able().await?;
        // Several at once have to wait for each other.
        let _alone = container.checkpointing.acquire().await.map_err(Error::internal)?;
        let limit = u64::try_from(request.timeout).ok().filter(|seconds| *seconds > 0).map_or(PATIENCE, Duration::from_secs);
        let work = container.paths.dir.join("checkpoint");
        let outcome = dump(criu, &container, pid, &work, limit).await;
        let outcome = match outcome {
            Ok(()) => {
                let (held, from) = (container.clone(), work.clone());
                blocking(move || pack(&held, &from, &target)).await
            }
            Err(error) => Err(error),
        };
        let cleared = files::remove_tree(&work);
        outcome.and(cleared)
    }
}

/// The program, if it is there and this kernel can do what it needs.
async fn able() -> Result<&'static str> {
    let criu = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
    let criu = criu.ok_or_else(|| Error::Unsupported("checkpoint is not supported: the program criu is not installed".to_owned()))?;
    let checked = tokio::process::Command::new(criu).arg("check").env_clear().stdin(Stdio::null()).kill_on_drop(true).output();
    let checked = tokio::time::timeout(PATIENCE, checked).await;
    let checked = checked
        .map_err(|_| Error::Deadline(format!("{criu} check does not end")))?
        .map_err(|error| Error::Internal(format!("cannot run {criu}: {error}")))?;
    if checked.status.success() {
        return Ok(criu);
    }
    Err(Error::Unsupported(format!("checkpoint is not supported by this kernel: {}", complaint(&checked.stderr))))
}

/// The first thing that CRIU complains of.
fn complaint(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut errors = text.lines().filter(|line| line.contains("Error") && !line.contains("exited"));
    errors.next().unwrap_or_else(|| text.lines().last().unwrap_or("criu says nothing")).trim().to_owned()
}

async fn dump(criu: &str, container: &Container, pid: i32, work: &Path, limit: Duration) -> Result<()> {
    let images = work.join("checkpoint");
    files::make_dir(&images)?;
    let mut command = tokio::process::Command::new(criu);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["dump", "--leave-running", "--tcp-established", "--file-locks", "--ext-unix-sk", "--manage-cgroups=ignore"]);
    command
        .arg("--tree")
        .arg(pid.to_string())
        .arg("--images-dir")
        .arg(&images)
        .arg("--work-dir")
        .arg(work)
        .args(["--log-file", "dump.log"]);
    command.arg("--root").arg(container.paths.rootfs());
    // Everything that the node mounted or that others share is named, not dumped.
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    for point in mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| *point != "/") {
        command.arg("--external").arg(format!("mnt[{point}]:{point}"));
    }
    for kind in ["net", "ipc", "uts"] {
        let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap_or_default();
        let name = link.to_string_lossy();
        if let Some(inode) = name.split(['[', ']']).nth(1) {
            command.arg("--external").arg(format!("{kind}[{inode}]:pod-{kind}"));
        }
    }
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(limit, output)
        .await
        .map_err(|_| Error::Deadline(format!("the checkpoint took longer than {} s", limit.as_secs())))?
        .map_err(|error| Error::Internal(format!("cannot run {criu}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let log = fs::read(work.join("dump.log")).unwrap_or(output.stderr);
    Err(Error::Internal(format!("criu could not dump container {}: {}", container.id, complaint(&log))))
}

/// Describes the container and packs all of it.
fn pack(container: &Container, work: &Path, target: &Path) -> Result<()> {
    let record = container.record();
    let config = json!({
        "id": container.id,
        "name": record.config.0.metadata.as_ref().map(|metadata| metadata.name.as_str()),
        "rootfsImage": record.image_id,
        "rootfsImageRef": record.image_ref,
        "rootfsImageName": record.config.0.image.as_ref().map(|image| image.image.as_str()),
        "runtime": container.sandbox.record.handler,
        "createdTime": container.created_at,
        "checkpointedTime": files::now(),
    });
    files::publish(&work.join("config.dump"), &config)?;
    let spec: serde_json::Value = files::load(&container.paths.spec())?.unwrap_or_default();
    files::publish(&work.join("spec.dump"), &spec)?;
    changes(&container.paths.upper(), work).map_err(Error::io("read", &container.paths.upper()))?;
    let write = || -> std::io::Result<()> {
        // It holds the container's memory.
        let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(target)?;
        let mut archive = tar::Builder::new(file);
        archive.append_dir_all(".", work)?;
        archive.into_inner()?.sync_all()
    };
    write().map_err(Error::io("write", target)).inspect_err(|_| drop(fs::remove_file(target)))
}

/// Writes what the container has changed of its root file system: what it wrote, and the names of what it deleted.
///
/// The container runs on, and can put a link where a directory or a file was. So all is opened from the top, and no link is
/// followed. What vanishes meanwhile is left out.
fn changes(upper: &Path, work: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(fs::File::create(work.join("rootfs-diff.tar"))?);
    let mut deleted = Vec::new();
    let root = rustix::fs::open(upper, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut left = vec![PathBuf::new()];
    while let Some(below) = left.pop() {
        let at: &Path = if below.as_os_str().is_empty() { Path::new(".") } else { &below };
        let Some(dir) = open(&root, at, OFlags::DIRECTORY)? else { continue };
        for entry in fs::read_dir(Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()))? {
            let entry = entry?;
            let (name, Ok(metadata)) = (below.join(entry.file_name()), entry.metadata()) else { continue };
            let kind = metadata.file_type();
            let mut header = tar::Header::new_gnu();
            header.set_metadata(&metadata);
            if kind.is_char_device() && metadata.rdev() == 0 {
                // How an overlay notes that something is gone.
                deleted.push(name);
            } else if kind.is_file() {
                let file = open(&root, &name, OFlags::NONBLOCK)?.map(fs::File::from);
                if let Some(mut file) = file.filter(|file| file.metadata().is_ok_and(|found| found.is_file())) {
                    archive.append_file(&name, &mut file)?;
                }
            } else if kind.is_dir() {
                archive.append_data(&mut header, &name, io::empty())?;
                left.push(name);
            } else if kind.is_symlink() {
                if let Ok(target) = fs::read_link(entry.path()) {
                    archive.append_link(&mut header, &name, target)?;
                }
            } else if !kind.is_socket() {
                header.set_size(0);
                header.set_device_major(rustix::fs::major(metadata.rdev()))?;
                header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
                archive.append_data(&mut header, &name, io::empty())?;
            }
        }
    }
    archive.into_inner()?;
    if !deleted.is_empty() {
        fs::write(work.join("deleted.files"), serde_json::to_vec(&deleted)?)?;
    }
    Ok(())
}

/// What is at a place below `root`, if it is still there and no link leads to it.
fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<Option<OwnedFd>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(root, path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
