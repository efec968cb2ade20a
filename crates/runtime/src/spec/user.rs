//! Whom a container runs as.

use corten_cri::v1::{LinuxContainerSecurityContext, SupplementalGroupsPolicy};

use super::Rootfs;
use crate::error::{Error, Result};

/// A resolved user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, with the primary one first.
    pub(crate) groups: Vec<u32>,
    /// The home directory, if the image's passwd names one.
    pub(crate) home: Option<String>,
}

/// A line of `/etc/passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn entries(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        Some(Entry { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
    })
}

/// The groups of `/etc/group`: name, id, members.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, Vec<&str>)> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields.as_slice() else { return None };
        Some((*name, gid.parse().ok()?, members.split(',').filter(|member| !member.is_empty()).collect()))
    })
}

fn id(value: i64, what: &str) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Invalid(format!("{what} {value} is out of range")))
}

/// Resolves the user of the security context, else the image's (`user`, `uid`, `user:group`, `uid:gid`), else root.
pub(crate) fn resolve(security: &LinuxContainerSecurityContext, image_user: &str, rootfs: &Rootfs) -> Result<User> {
    let passwd = rootfs.read("/etc/passwd")?;
    let group = rootfs.read("/etc/group")?;
    from_files(security, image_user, &passwd, &group)
}

fn from_files(security: &LinuxContainerSecurityContext, image_user: &str, passwd: &str, group: &str) -> Result<User> {
    if security.run_as_group.is_some() && security.run_as_user.is_none() && security.run_as_username.is_empty() && image_user.is_empty() {
        return Err(Error::invalid("user group is specified without user"));
    }
    let (wanted, wanted_group) = match (&security.run_as_user, security.run_as_username.as_str()) {
        (Some(uid), _) => (uid.value.to_string(), ""),
        (None, name) if !name.is_empty() => (name.to_owned(), ""),
        (None, _) => {
            let (user, group) = image_user.split_once(':').unwrap_or((image_user, ""));
            (user.to_owned(), group)
        }
    };
    let by_name = |name: &str| entries(passwd).find(|entry| entry.name == name);
    let by_id = |uid: u32| entries(passwd).find(|entry| entry.uid == uid);
    let (uid, entry) = match wanted.as_str() {
        "" => (0, by_id(0)),
        number if number.parse::<i64>().is_ok() => {
            let uid = id(number.parse().unwrap_or_default(), "user")?;
            (uid, by_id(uid))
        }
        name => {
            let entry =
                by_name(name).ok_or_else(|| Error::Invalid(format!("unable to find user {name}: no matching entries in passwd file")))?;
            (entry.uid, Some(entry))
        }
    };
    let gid = match (&security.run_as_group, wanted_group) {
        (Some(gid), _) => id(gid.value, "group")?,
        (None, "") => entry.as_ref().map_or(0, |entry| entry.gid),
        (None, number) if number.parse::<i64>().is_ok() => id(number.parse().unwrap_or_default(), "group")?,
        (None, name) => groups(group)
            .find(|(group, ..)| *group == name)
            .map(|(_, gid, _)| gid)
            .ok_or_else(|| Error::Invalid(format!("unable to find group {name}: no matching entries in group file")))?,
    };
    let mut all = vec![gid];
    // Strict leaves out what the image says about memberships.
    if security.supplemental_groups_policy != SupplementalGroupsPolicy::Strict as i32
        && let Some(entry) = &entry
    {
        all.extend(groups(group).filter(|(.., members)| members.contains(&entry.name)).map(|(_, gid, _)| gid));
    }
    for gid in &security.supplemental_groups {
        all.push(id(*gid, "group")?);
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|gid| seen.insert(*gid));
    let home = entry.map(|entry| entry.home.to_owned()).filter(|home| !home.is_empty());
    Ok(User { uid, gid, groups: all, home })
}

#[cfg(test)]
mod tests {
    use corten_cri::v1::{Int64Value, LinuxContainerSecurityContext};

    use super::{User, from_files};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34:www:/var/www:/bin/false\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:50:www,other\n";

    fn resolve(security: &LinuxContainerSecurityContext, image: &str) -> Result<User, String> {
        from_files(security, image, PASSWD, GROUP).map_err(|error| error.to_string())
    }

    #[test]
    fn the_image_names_a_user() {
        let user = resolve(&LinuxContainerSecurityContext::default(), "www").unwrap();
        assert_eq!((user.uid, user.gid, user.groups.as_slice()), (33, 34, [34, 50].as_slice()));
        assert_eq!(user.home.as_deref(), Some("/var/www"));
    }

    #[test]
    fn the_security_context_wins_and_a_number_without_entry_has_group_root() {
        let security = LinuxContainerSecurityContext {
            run_as_user: Some(Int64Value { value: 1000 }),
            supplemental_groups: vec![7, 0],
            ..LinuxContainerSecurityContext::default()
        };
        let user = resolve(&security, "www").unwrap();
        assert_eq!((user.uid, user.gid, user.groups.as_slice()), (1000, 0, [0, 7].as_slice()));
    }

    #[test]
    fn image_user_with_group() {
        let user = resolve(&LinuxContainerSecurityContext::default(), "5:log").unwrap();
        assert_eq!((user.uid, user.gid), (5, 50));
    }

    #[test]
    fn unknown_names_and_impossible_ids_are_refused() {
        assert!(resolve(&LinuxContainerSecurityContext::default(), "nobody").unwrap_err().contains("unable to find user nobody"));
        let security =
            LinuxContainerSecurityContext { run_as_user: Some(Int64Value { value: -2 }), ..LinuxContainerSecurityContext::default() };
        assert!(resolve(&security, "").unwrap_err().contains("out of range"));
        let security =
            LinuxContainerSecurityContext { run_as_group: Some(Int64Value { value: 3 }), ..LinuxContainerSecurityContext::default() };
        assert!(resolve(&security, "").unwrap_err().contains("without user"));
    }
}
