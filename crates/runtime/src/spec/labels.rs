//! The AppArmor profiles that containers ask for.

use std::fs;

use corten_cri::v1::LinuxContainerSecurityContext;
use corten_cri::v1::security_profile::ProfileType;

use super::apparmor;
use crate::error::{Error, Result};

/// How CRI's older field names profiles.
const LOCALHOST: &str = "localhost/";

/// What the machine's kernel has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Modules {
    /// The names of the loaded AppArmor profiles; `None` without AppArmor.
    apparmor: Option<Vec<String>>,
}

impl Modules {
    /// Looks at the running kernel.
    pub(crate) fn detect() -> Modules {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
        let profiles = || {
            let text = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
            text.lines().map(|line| line.rsplit_once(" (").map_or(line, |(name, _)| name).to_owned()).collect()
        };
        Modules { apparmor: enabled.then(profiles) }
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
}

#[cfg(test)]
mod tests {
    use corten_cri::v1::{LinuxContainerSecurityContext, SecurityProfile};

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
        let modules = Modules { apparmor: Some(vec!["mine".to_owned()]) };
        assert_eq!(modules.profile(&with(2, "mine")).unwrap().as_deref(), Some("mine"));
        assert_eq!(modules.profile(&with(2, "localhost/mine")).unwrap().as_deref(), Some("mine"));
        assert!(modules.profile(&with(2, "other")).unwrap_err().to_string().contains("profile not found other"));
    }
}
