//! Who makes a request.

use std::collections::BTreeMap;

use corten_pki::Identity;

/// The group of every request with valid credentials.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of requests without credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";

/// An authenticated (or anonymous) user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// User name.
    pub name: String,
    /// Stable identifier; empty when the credentials have none.
    pub uid: String,
    /// Groups, `system:authenticated` among them.
    pub groups: Vec<String>,
    /// Further facts from the credentials.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user of certain groups, with `system:authenticated` added.
    pub fn authenticated(name: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut user = UserInfo { name: name.into(), groups: groups.into_iter().collect(), ..UserInfo::default() };
        user.add_group(AUTHENTICATED);
        user
    }

    /// The user of requests without credentials.
    pub fn anonymous() -> Self {
        UserInfo { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..UserInfo::default() }
    }

    /// Whether the user is in a group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The node's name, if this is a kubelet.
    pub fn node_name(&self) -> Option<&str> {
        self.in_group(corten_pki::NODES).then(|| self.name.strip_prefix("system:node:")).flatten()
    }

    pub(crate) fn add_group(&mut self, group: &str) {
        if !self.in_group(group) {
            self.groups.push(group.to_owned());
        }
    }
}

impl From<Identity> for UserInfo {
    fn from(identity: Identity) -> Self {
        UserInfo::authenticated(identity.user, identity.groups)
    }
}
