//! Impersonation: acting as somebody else, if authorization allows it (`Impersonate-User`, `-Group`, `-Uid`, `-Extra-…`).

use http::{HeaderMap, request::Parts};

use super::user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use super::{Identity, UserInfo};
use crate::authz::{self, Attributes};
use crate::request::decode;
use crate::server::Server;
use crate::status::ApiError;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}

fn extras(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let key = decode(name.as_str().strip_prefix(EXTRA)?, false);
            Some((key, value.to_str().ok()?.to_owned()))
        })
        .collect()
}

/// The user that a request is to be handled as: `user` itself, or whom its headers name.
///
/// # Errors
///
/// 403 when `user` may not act as somebody else, 400 when the headers do not say as whom.
pub fn impersonation(server: &Server, parts: &Parts, user: UserInfo) -> Result<UserInfo, ApiError> {
    let headers = &parts.headers;
    let name = values(headers, USER).first().map(|name| (*name).to_owned()).unwrap_or_default();
    let groups = values(headers, GROUP);
    let uid = values(headers, UID).first().copied().unwrap_or_default();
    let extra = extras(headers);
    if name.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(user);
        }
        return Err(ApiError::internal(format!(
            "requested {} without impersonating a user",
            [(!groups.is_empty(), "groups"), (!uid.is_empty(), "uid"), (!extra.is_empty(), "extra")]
                .iter()
                .filter(|(given, _)| *given)
                .map(|(_, word)| *word)
                .collect::<Vec<_>>()
                .join(", ")
        )));
    }

    let check = |group, resource, subresource, namespace, name| {
        let attributes = Attributes { subresource, namespace, name, ..Attributes::resource(&user, "impersonate", group, resource) };
        let decision = server.authorizer.authorize(&attributes);
        if decision.allowed() { Ok(()) } else { Err(authz::forbidden(&attributes, decision.reason())) }
    };

    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let mut target = match account {
        Some((namespace, account)) => {
            check("", "serviceaccounts", "", namespace, account)?;
            if groups.is_empty() {
                UserInfo::from(Identity::service_account(namespace, account))
            } else {
                UserInfo { name: name.clone(), ..UserInfo::default() }
            }
        }
        None => {
            check("", "users", "", "", &name)?;
            UserInfo { name: name.clone(), ..UserInfo::default() }
        }
    };
    for group in groups {
        check("", "groups", "", "", group)?;
        target.add_group(group);
    }
    if !uid.is_empty() {
        check(AUTHENTICATION, "uids", "", "", uid)?;
        uid.clone_into(&mut target.uid);
    }
    for (key, value) in &extra {
        check(AUTHENTICATION, "userextras", key, "", value)?;
        target.extra.entry(key.clone()).or_default().push(value.clone());
    }
    if target.name == ANONYMOUS {
        target.add_group(UNAUTHENTICATED);
    } else if !target.in_group(UNAUTHENTICATED) {
        target.add_group(AUTHENTICATED);
    }
    Ok(target)
}
