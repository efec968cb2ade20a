//! What SELinux calls a container's processes and files.

use std::path::Path;

use corten_cri::v1::SeLinuxOption;

/// Labels, whole: user, role, type and level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) process: String,
    pub(crate) files: String,
}

impl Labels {
    /// Those that are asked for. Without SELinux there is nothing to label, which is no error: the reference's runtimes run such
    /// pods on any node.
    pub(crate) fn of(options: Option<&SeLinuxOption>) -> Option<Labels> {
        let options = options.filter(|options| **options != SeLinuxOption::default())?;
        Path::new("/sys/fs/selinux/enforce").exists().then(|| Labels::complete(options))
    }

    /// What is left out is as the usual policies have it for containers.
    fn complete(options: &SeLinuxOption) -> Labels {
        let or = |value: &str, default: &str| if value.is_empty() { default.to_owned() } else { value.to_owned() };
        let (user, level) = (or(&options.user, "system_u"), or(&options.level, "s0"));
        let process = format!("{user}:{}:{}:{level}", or(&options.role, "system_r"), or(&options.r#type, "container_t"));
        Labels { process, files: format!("{user}:object_r:container_file_t:{level}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_completed() {
        let options = SeLinuxOption { level: "s0:c1,c2".to_owned(), ..SeLinuxOption::default() };
        let labels = Labels::complete(&options);
        assert_eq!(labels.process, "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(labels.files, "system_u:object_r:container_file_t:s0:c1,c2");
        let spelt = SeLinuxOption { user: "u".to_owned(), role: "r".to_owned(), r#type: "t".to_owned(), level: "s1".to_owned() };
        let labels = Labels::complete(&spelt);
        assert_eq!((labels.process.as_str(), labels.files.as_str()), ("u:r:t:s1", "u:object_r:container_file_t:s1"));
        assert_eq!(Labels::of(None), None);
        assert_eq!(Labels::of(Some(&SeLinuxOption::default())), None);
    }
}
