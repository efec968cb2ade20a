//! The AppArmor profiles that containers ask for, and the one that is the runtime's default.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use corten_cri::v1::LinuxContainerSecurityContext;
use corten_cri::v1::security_profile::ProfileType;

use crate::error::{Error, Result};

/// How CRI's older field names profiles.
const LOCALHOST: &str = "localhost/";

/// The default's name.
const NAME: &str = "corten-default";

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

/// The names of the profiles that the kernel has loaded; `None` without AppArmor.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profiles(Option<Vec<String>>);

impl Profiles {
    /// Looks at the running kernel.
    pub(crate) fn detect() -> Profiles {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
        let profiles = || {
            let text = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
            text.lines().map(|line| line.rsplit_once(" (").map_or(line, |(name, _)| name).to_owned()).collect()
        };
        Profiles(enabled.then(profiles))
    }

    /// The container's AppArmor profile. A profile that cannot be had is an error, never silently none.
    pub(super) fn of(&self, security: &LinuxContainerSecurityContext) -> Result<Option<String>> {
        #[allow(deprecated)]
        let older = security.apparmor_profile.as_str();
        let wanted = match &security.apparmor {
            Some(profile) => match ProfileType::try_from(profile.profile_type) {
                Ok(ProfileType::Unconfined) => None,
                Ok(ProfileType::RuntimeDefault) => Some(NAME),
                Ok(ProfileType::Localhost) => Some(profile.localhost_ref.strip_prefix(LOCALHOST).unwrap_or(&profile.localhost_ref)),
                Err(_) => return Err(Error::Invalid(format!("unknown AppArmor profile type {}", profile.profile_type))),
            },
            None => match older {
                "" | "unconfined" => None,
                "runtime/default" => Some(NAME),
                name => Some(name.strip_prefix(LOCALHOST).ok_or_else(|| Error::Invalid(format!("invalid apparmor profile {name:?}")))?),
            },
        };
        let Some(name) = wanted else { return Ok(None) };
        let Some(loaded) = &self.0 else {
            return Err(Error::invalid("apparmor is not supported: the node's kernel does not have it enabled"));
        };
        if security.privileged && name == NAME {
            return Ok(None);
        }
        if !loaded.iter().any(|known| known == name) {
            match name {
                NAME => load()?,
                _ => return Err(Error::Invalid(format!("apparmor profile not found {name}"))),
            }
        }
        Ok(Some(name.to_owned()))
    }
}

/// Loads the default. Blocks; may be repeated.
fn load() -> Result<()> {
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

#[cfg(test)]
mod tests {
    use corten_cri::v1::{LinuxContainerSecurityContext, SecurityProfile};

    use super::Profiles;

    fn with(profile_type: i32, localhost_ref: &str) -> LinuxContainerSecurityContext {
        let profile = SecurityProfile { profile_type, localhost_ref: localhost_ref.to_owned() };
        LinuxContainerSecurityContext { apparmor: Some(profile), ..LinuxContainerSecurityContext::default() }
    }

    #[test]
    fn profiles_are_loaded_or_refused() {
        let bare = Profiles::default();
        assert_eq!(bare.of(&LinuxContainerSecurityContext::default()).unwrap(), None);
        assert_eq!(bare.of(&with(1, "")).unwrap(), None, "unconfined needs nothing");
        for (kind, name) in [(0, ""), (2, "mine")] {
            assert!(bare.of(&with(kind, name)).unwrap_err().to_string().contains("apparmor is not supported"));
        }
        let loaded = Profiles(Some(vec!["mine".to_owned()]));
        assert_eq!(loaded.of(&with(2, "mine")).unwrap().as_deref(), Some("mine"));
        assert_eq!(loaded.of(&with(2, "localhost/mine")).unwrap().as_deref(), Some("mine"));
        assert!(loaded.of(&with(2, "other")).unwrap_err().to_string().contains("profile not found other"));
    }
}
