//! Which headers pass a proxy, and which are between it and one of its sides (RFC 9110, 7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::authn;

/// About one connection only. `te: trailers` and `trailer` pass: trailers do.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A backend does not decide which other sites may use this server.
const CROSS_ORIGIN: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];

/// What a backend gets of a client's headers: no credentials, nothing about the client's connection, but where it comes from.
pub(in crate::subresources) fn outgoing(headers: &HeaderMap, client: Option<std::net::IpAddr>) -> HeaderMap {
    let mut out = headers.clone();
    strip(&mut out);
    let secret = |name: &HeaderName| *name == header::AUTHORIZATION || name.as_str().starts_with("impersonate-");
    let secrets: Vec<HeaderName> = out.keys().filter(|name| secret(name)).cloned().collect();
    for name in secrets {
        out.remove(name);
    }
    // The client has been told to go on already.
    out.remove(header::EXPECT);
    // A token may be among the subprotocols.
    let protocols: Vec<&str> = authn::subprotocols(headers).collect();
    out.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let Ok(protocols) = HeaderValue::from_str(&protocols.join(", "))
        && !protocols.is_empty()
    {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    }
    if let Some(client) = client {
        let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<String> = before.map(str::to_owned).chain([client.to_canonical().to_string()]).collect();
        if let Ok(chain) = HeaderValue::from_str(&chain.join(", ")) {
            out.insert(FORWARDED_FOR, chain);
        }
    }
    out
}

/// What a client gets of a backend's headers.
pub(in crate::subresources) fn incoming(headers: &mut HeaderMap) {
    strip(headers);
    for name in CROSS_ORIGIN {
        headers.remove(name);
    }
}

/// Removes what is about one connection, and what `Connection` says is.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let trailers = headers.get_all(header::TE).iter().any(|value| value.to_str().is_ok_and(|text| lists(text, "trailers")));
    for name in HOP_BY_HOP.into_iter().chain([PROXY_CONNECTION, header::TE]).chain(named) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether a request wants to change its protocol.
pub(in crate::subresources) fn wants_upgrade(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.any(|value| lists(value, "upgrade"))
}

fn lists(text: &str, word: &str) -> bool {
    text.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn backends_get_what_is_for_them() {
        let sent = headers(&[
            ("authorization", "Bearer secret"),
            ("impersonate-user", "admin"),
            ("impersonate-extra-a", "b"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip, trailers"),
            ("expect", "100-continue"),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.eA, a"),
            ("sec-websocket-protocol", "b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("cookie", "a=b"),
            ("x-odd", "kept"),
        ]);
        let expected = headers(&[
            ("te", "trailers"),
            ("sec-websocket-protocol", "a, b"),
            ("x-forwarded-for", "192.0.2.1, 192.0.2.2"),
            ("cookie", "a=b"),
            ("x-odd", "kept"),
        ]);
        assert_eq!(outgoing(&sent, Some("::ffff:192.0.2.2".parse().unwrap())), expected);
        assert_eq!(outgoing(&headers(&[("a", "b")]), None), headers(&[("a", "b")]));
    }

    #[test]
    fn clients_get_what_is_for_them() {
        let mut answered = headers(&[
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("access-control-allow-origin", "*"),
            ("content-length", "5"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        incoming(&mut answered);
        assert_eq!(answered, headers(&[("content-length", "5"), ("set-cookie", "a"), ("set-cookie", "b")]));
    }

    #[test]
    fn upgrades_are_asked_for_in_a_list() {
        for (value, expected) in [("Upgrade", true), ("keep-alive, upgrade", true), ("close", false), ("upgraded", false)] {
            assert_eq!(wants_upgrade(&headers(&[("connection", value)])), expected, "{value}");
        }
    }
}
