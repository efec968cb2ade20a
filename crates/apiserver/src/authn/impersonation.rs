//! Impersonation: acting as somebody else, if authorization allows it (`Impersonate-User`, `-Group`, `-Uid`, `-Extra-…`).

use http::{HeaderMap, HeaderValue, request::Parts};

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

/// A header's text. What cannot be read is refused: without it, the request would be the sender's own.
fn decoded<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str, ApiError> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| ApiError::bad_request(format!("the value of the header {name:?} is not UTF-8")))
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Result<Vec<&'a str>, ApiError> {
    headers.get_all(name).iter().map(|value| decoded(name, value)).collect()
}

fn extras(headers: &HeaderMap) -> Result<Vec<(String, String)>, ApiError> {
    let given = headers.iter().filter_map(|(name, value)| Some((name.as_str().strip_prefix(EXTRA)?, name.as_str(), value)));
    given.map(|(key, name, value)| Ok((decode(key, false), decoded(name, value)?.to_owned()))).collect()
}

/// The user that a request is to be handled as: `user` itself, or whom its headers name.
///
/// # Errors
///
/// 403 when `user` may not act as somebody else, 400 when the headers do not say as whom.
pub fn impersonation(server: &Server, parts: &Parts, user: UserInfo) -> Result<UserInfo, ApiError> {
    let headers = &parts.headers;
    let name = values(headers, USER)?.first().map(|name| (*name).to_owned()).unwrap_or_default();
    let groups = values(headers, GROUP)?;
    let uid = values(headers, UID)?.first().copied().unwrap_or_default();
    let extra = extras(headers)?;
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
