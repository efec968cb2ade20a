//! The AppArmor profile of containers that ask for the runtime's default.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// Its name.
pub(super) const NAME: &str = "corten-default";

/// Files, network and capabilities are left to what else confines a container. Kept from it are mounts, what of `/proc` and `/sys`
/// changes or tells of the machine, and the processes of others (apparmor.d(5)).
const PROFILE: &str = "\
profile corten-default flags=(attach_disconnected, mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (send, receive) peer=corten-default,
  ptrace (trace, read, tracedby, readby) peer=corten-default,
  deny mount,
  deny /proc/sys/fs/** wklx,
  deny /proc/sys/kernel/{?,??,[^s][^h][^m]**} wklx,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/mem rwklx,
  deny /proc/kmem rwklx,
  deny /proc/kcore rwklx,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
";

/// The program that compiles profiles and gives them to the kernel. It comes with AppArmor on every distribution.
const PARSER: [&str; 2] = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"];

/// Loads it. Blocks; may be repeated.
pub(super) fn load() -> Result<()> {
    let failed = |why: String| Error::Internal(format!("apparmor profile {NAME} cannot be loaded: {why}"));
    let program =
        PARSER.into_iter().find(|path| Path::new(path).exists()).ok_or_else(|| failed("the node has no apparmor_parser".to_owned()))?;
    let run = || {
        let mut command = Command::new(program);
        command.args(["--replace", "--skip-cache"]).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that ends without reading says why.
            let _ = stdin.write_all(PROFILE.as_bytes());
        }
        child.wait_with_output()
    };
    let output = run().map_err(|error| failed(format!("{program}: {error}")))?;
    if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())) }
}
