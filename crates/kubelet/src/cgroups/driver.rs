//! How cgroups are named: plainly, or as systemd names the units that they are.

/// The two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupDriver {
    /// `/kubepods/burstable/pod1-2`.
    #[default]
    Cgroupfs,
    /// `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice`: every slice's name says where it is, so a
    /// part of it cannot have a dash of its own.
    Systemd,
}

impl CgroupDriver {
    /// The driver that a configuration names.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "cgroupfs" => Some(Self::Cgroupfs),
            "systemd" => Some(Self::Systemd),
            _ => None,
        }
    }

    /// The path of the cgroup with these parts, below the root of each hierarchy.
    pub fn path<'a>(self, parts: impl IntoIterator<Item = &'a str>) -> String {
        let (mut path, mut slice) = (String::new(), String::new());
        for part in parts {
            path.push('/');
            match self {
                Self::Cgroupfs => path.push_str(part),
                Self::Systemd => {
                    if !slice.is_empty() {
                        slice.push('-');
                    }
                    slice.push_str(&part.replace('-', "_"));
                    path.push_str(&slice);
                    path.push_str(SLICE);
                }
            }
        }
        path
    }

    /// The last part of a cgroup's name. What is no slice has none with systemd.
    pub(super) fn last_part(self, name: &str) -> Option<String> {
        match self {
            Self::Cgroupfs => Some(name.to_owned()),
            Self::Systemd => Some(name.strip_suffix(SLICE)?.rsplit('-').next()?.replace('_', "-")),
        }
    }
}

const SLICE: &str = ".slice";
