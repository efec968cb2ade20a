//! Keeping logs small: a file that has grown too large is renamed, and the runtime begins another.
//!
//! Names are the reference's: `0.log.<timestamp>`, the newest of them as it is, older ones too
//! (they are not compressed, so that a reader can go on).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_cri::v1;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::runtime::request;

/// Rotates the logs of running containers until `token` is cancelled. Growth of a file written by the runtime is no event,
/// and a watch on every log would cost more than a look from time to time.
pub(crate) async fn keep(context: Arc<Context>, token: CancellationToken) {
    let work = async {
        loop {
            tokio::time::sleep(context.config.log_interval).await;
            if let Err(status) = round(&context).await {
                tracing::warn!(%status, "looking at container logs");
            }
        }
    };
    token.run_until_cancelled(work).await;
}

async fn round(context: &Context) -> Result<(), tonic::Status> {
    let (large, files) = (context.config.log_max_size, context.config.log_max_files);
    if !any_due(&context.pod_log_dir, large) {
        return Ok(());
    }
    let running = v1::ContainerState::ContainerRunning;
    for container in context.runtime.list_containers(HashMap::new()).await? {
        if container.state() != running {
            continue;
        }
        let mut client = context.runtime.clients.runtime.clone();
        let message = v1::ContainerStatusRequest { container_id: container.id.clone(), verbose: false };
        let status = client.container_status(request(message)).await?.into_inner();
        let path = PathBuf::from(status.status.unwrap_or_default().log_path);
        let rotated = if is_large(&path, large) {
            let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
            match rename(&path, &stamp) {
                Ok(rotated) => Some(rotated),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "rotating a log");
                    continue;
                }
            }
        } else if is_absent(&path) {
            // Renamed by a kubelet that ended before it could tell the runtime.
            None
        } else {
            continue;
        };
        let message = v1::ReopenContainerLogRequest { container_id: container.id };
        if let Err(status) = client.reopen_container_log(request(message)).await {
            // The runtime still writes to the renamed file: give it its name back.
            tracing::warn!(%status, path = %path.display(), "reopening a log");
            if let Some(rotated) = rotated
                && let Err(error) = fs::rename(&rotated, &path)
            {
                tracing::warn!(%error, path = %path.display(), "undoing a rotation");
            }
        } else if let Err(error) = prune(&path, files) {
            tracing::warn!(%error, path = %path.display(), "removing old logs");
        }
    }
    Ok(())
}

fn is_large(path: &Path, large: u64) -> bool {
    fs::metadata(path).is_ok_and(|m| m.len() >= large)
}

fn is_absent(path: &Path) -> bool {
    !path.as_os_str().is_empty() && fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Whether any `<pod>/<container>/<n>.log` is large, or absent beside its rotated parts; usually none is, and nobody has
/// to be asked.
fn any_due(directory: &Path, large: u64) -> bool {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    list(directory).flat_map(|pod| list(&pod.path())).flat_map(|container| list(&container.path())).map(|file| file.path()).any(|path| {
        match path.extension() {
            Some(extension) if extension == "log" => is_large(&path, large),
            // `0.log.<timestamp>`
            _ => path.file_stem().is_some_and(|s| s.as_encoded_bytes().ends_with(b".log")) && is_absent(&path.with_extension("")),
        }
    })
}

/// Renames a log; gives the new name.
fn rename(path: &Path, stamp: &str) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{stamp}"));
    let rotated = PathBuf::from(name);
    fs::rename(path, &rotated)?;
    Ok(rotated)
}

/// Removes the oldest of the files that a log was renamed to.
fn prune(path: &Path, files: usize) -> io::Result<()> {
    let old = rotated(path)?;
    let surplus = (old.len() + 1).saturating_sub(files);
    for file in old.into_iter().take(surplus) {
        fs::remove_file(file)?;
    }
    Ok(())
}

/// The files that a log was renamed to, the oldest first.
pub(super) fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(Vec::new());
    };
    let is_rotated = |path: &PathBuf| {
        let found = path.file_name().and_then(|n| n.to_str());
        let rest = found.and_then(|n| n.strip_prefix(name));
        rest.is_some_and(|r| r.starts_with('.'))
    };
    let mut files: Vec<PathBuf> = fs::read_dir(directory)?.flatten().map(|entry| entry.path()).filter(is_rotated).collect();
    // Names sort by their time.
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for number in 0..8 {
            fs::write(&path, number.to_string()).unwrap();
            rename(&path, &format!("2026010{number}-000000")).unwrap();
            prune(&path, 5).unwrap();
        }
        fs::write(&path, "now").unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let days = ["4", "5", "6", "7"].map(|d| format!("0.log.2026010{d}-000000"));
        let expected: Vec<_> = [String::from("0.log")].into_iter().chain(days).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn large_logs_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let container = dir.path().join("ns_p_u/c");
        fs::create_dir_all(&container).unwrap();
        fs::write(container.join("0.log"), "small").unwrap();
        assert!(!any_due(dir.path(), 1 << 20));
        let file = fs::File::create(container.join("1.log")).unwrap();
        file.set_len(1 << 20).unwrap();
        assert!(any_due(dir.path(), 1 << 20));
    }

    #[test]
    fn a_rotation_that_was_not_finished_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let container = dir.path().join("ns_p_u/c");
        fs::create_dir_all(&container).unwrap();
        let path = container.join("0.log");
        fs::write(&path, "old").unwrap();
        rename(&path, "20260101-000000").unwrap();
        assert!(is_absent(&path) && any_due(dir.path(), 1 << 20));
        fs::write(&path, "new").unwrap();
        assert!(!is_absent(&path) && !any_due(dir.path(), 1 << 20));
    }
}
