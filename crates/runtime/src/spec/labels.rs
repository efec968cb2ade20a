//! What the kernel's security modules call a container: AppArmor profiles and SELinux labels.

use std::fs;
use std::path::Path;

use corten_cri::v1::security_profile::ProfileType;
use corten_cri::v1::{LinuxContainerSecurityContext, SeLinuxOption};

use super::apparmor;
use crate::error::{Error, Result};

/// How CRI's older field names profiles.
const LOCALHOST: &str = "localhost/";

/// What the machine's kernel has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Modules {
    /// The names of the loaded AppArmor profiles; `None` without AppArmor.
    apparmor: Option<Vec<String>>,
    selinux: bool,
}

impl Modules {
    /// Looks at the running kernel.
    pub(crate) fn detect() -> Modules {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
        let profiles = || {
            let text = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
            text.lines().map(|line| line.rsplit_once(" (").map_or(line, |(name, _)| name).to_owned()).collect()
        };
        Modules { apparmor: enabled.then(profiles), selinux: Path::new("/sys/fs/selinux/enforce").exists() }
    }

    /// The container's AppArmor profile. A profile that cannot be had is an error, never silently none.
    pub(super) fn profile(&self, security: &LinuxContainerSecurityContext) -> Result<Option<String>> {
        #[allow(deprecated)]
        let older = security.apparmor_profile.as_str();
        let wanted = match &security.apparmor {
            Some(profile) => match ProfileType::try_from(profile.profile_type) {
                Ok(ProfileType::Unconfined) => None,
                Ok(ProfileType::RuntimeDefault) => Some(apparmor::NAME),
                Ok(ProfileType::Localhost) => Some(profile.localhost_ref.strip_prefix(LOCALHOST).unwrap_or(&profile.localhost_ref)),
                Err(_) => return Err(Error::Invalid(format!("unknown AppArmor profile type {}", profile.profile_type))),
            },
            None => match older {
                "" | "unconfined" => None,
                "runtime/default" => Some(apparmor::NAME),
                name => Some(name.strip_prefix(LOCALHOST).ok_or_else(|| Error::Invalid(format!("invalid apparmor profile {name:?}")))?),
            },
        };
        let Some(name) = wanted else { return Ok(None) };
        let Some(loaded) = &self.apparmor else {
            return Err(Error::invalid("apparmor is not supported: the node's kernel does not have it enabled"));
        };
        if security.privileged && name == apparmor::NAME {
            return Ok(None);
        }
        if !loaded.iter().any(|known| known == name) {
            match name {
                apparmor::NAME => apparmor::load()?,
                _ => return Err(Error::Invalid(format!("apparmor profile not found {name}"))),
            }
        }
        Ok(Some(name.to_owned()))
    }

    /// The labels of the container's process and of its mounts. Without SELinux there is nothing to label, which is no
    /// error: the reference's runtimes run such pods on any node.
    pub(super) fn labels(&self, security: &LinuxContainerSecurityContext) -> Option<(String, String)> {
        let options = security.selinux_options.as_ref().filter(|options| self.selinux && **options != SeLinuxOption::default())?;
        let or = |value: &str, default: &str| if value.is_empty() { default.to_owned() } else { value.to_owned() };
        let (user, level) = (or(&options.user, "system_u"), or(&options.level, "s0"));
        let process = format!("{user}:{}:{}:{level}", or(&options.role, "system_r"), or(&options.r#type, "container_t"));
        Some((process, format!("{user}:object_r:container_file_t:{level}")))
    }
}

#[cfg(test)]
mod tests {
    use corten_cri::v1::{LinuxContainerSecurityContext, SeLinuxOption, SecurityProfile};

    use super::Modules;

    fn with(profile_type: i32, localhost_ref: &str) -> LinuxContainerSecurityContext {
        let profile = SecurityProfile { profile_type, localhost_ref: localhost_ref.to_owned() };
        LinuxContainerSecurityContext { apparmor: Some(profile), ..LinuxContainerSecurityContext::default() }
    }

    #[test]
    fn profiles_are_loaded_or_refused() {
        let bare = Modules::default();
        assert_eq!(bare.profile(&LinuxContainerSecurityContext::default()).unwrap(), None);
        assert_eq!(bare.profile(&with(1, "")).unwrap(), None, "unconfined needs nothing");
        for (kind, name) in [(0, ""), (2, "mine")] {
            assert!(bare.profile(&with(kind, name)).unwrap_err().to_string().contains("apparmor is not supported"));
        }
        let modules = Modules { apparmor: Some(vec!["mine".to_owned()]), selinux: false };
        assert_eq!(modules.profile(&with(2, "mine")).unwrap().as_deref(), Some("mine"));
        assert_eq!(modules.profile(&with(2, "localhost/mine")).unwrap().as_deref(), Some("mine"));
        assert!(modules.profile(&with(2, "other")).unwrap_err().to_string().contains("profile not found other"));
    }

    #[test]
    fn labels_are_completed() {
        let options = SeLinuxOption { level: "s0:c1,c2".to_owned(), ..SeLinuxOption::default() };
        let security = LinuxContainerSecurityContext { selinux_options: Some(options), ..LinuxContainerSecurityContext::default() };
        assert_eq!(Modules::default().labels(&security), None);
        let (process, mounts) = Modules { apparmor: None, selinux: true }.labels(&security).unwrap();
        assert_eq!(process, "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(mounts, "system_u:object_r:container_file_t:s0:c1,c2");
    }
}
