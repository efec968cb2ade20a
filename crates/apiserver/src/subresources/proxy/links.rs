//! What a backend calls `/x` is `…/proxy/x` for whoever asks through the proxy: the rule by which its links are rewritten.

/// How links of one answer are rewritten.
#[derive(Clone, Debug)]
pub(super) struct Links {
    /// The path before the backend's own, as the client sent it, without a slash at its end.
    pub(super) prefix: String,
    /// The backend, as a URL names it.
    pub(super) backend: String,
    /// The `Host` that the client asked.
    pub(super) asked: String,
}

impl Links {
    /// The link as the client must follow it; `None` if it is right as it is.
    ///
    /// Only links with an absolute path change, and only those without a host or to the backend itself.
    pub(super) fn rewrite(&self, link: &str) -> Option<String> {
        let parts = Parts::of(link);
        let foreign = !parts.host.is_empty() && parts.host != self.backend && parts.host != self.asked;
        if foreign || !parts.path.starts_with('/') {
            return None;
        }
        // Scheme and host are the client's to know: without them the link leads to where it came from.
        let prefix = if parts.path.starts_with(&self.prefix) { "" } else { self.prefix.as_str() };
        let rewritten = format!("{prefix}{}{}", parts.path, parts.rest);
        (rewritten != link).then_some(rewritten)
    }
}

/// A URL taken apart as far as matters here (RFC 3986, appendix B).
struct Parts<'a> {
    host: &'a str,
    path: &'a str,
    /// Query and fragment, with their marks.
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let (front, rest) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        let after_scheme = match front.split_once(':') {
            Some((scheme, after)) if is_scheme(scheme) => after,
            _ => front,
        };
        match after_scheme.strip_prefix("//") {
            Some(authority) => {
                let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                Self { host, path, rest }
            }
            None => Self { host: "", path: after_scheme, rest },
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_backend_lead_through_the_proxy() {
        let links = Links {
            prefix: "/api/v1/namespaces/ns/pods/web:80/proxy".to_owned(),
            backend: "10.42.0.7:80".to_owned(),
            asked: "127.0.0.1:8001".to_owned(),
        };
        let through = |path: &str| Some(format!("{}{path}", links.prefix));
        for (link, expected) in [
            ("/", through("/")),
            ("/a/b?c=d#e", through("/a/b?c=d#e")),
            ("/%2Fodd%20path/", through("/%2Fodd%20path/")),
            ("http://10.42.0.7:80/a", through("/a")),
            ("https://127.0.0.1:8001/a/?x", through("/a/?x")),
            ("//10.42.0.7:80/a", through("/a")),
            ("http://user@10.42.0.7:80/a", through("/a")),
            ("/api/v1/namespaces/ns/pods/web:80/proxy/x", None),
            ("http://10.42.0.7:80/api/v1/namespaces/ns/pods/web:80/proxy/x", through("/x")),
            ("relative/a", None),
            ("?only=query", None),
            ("#top", None),
            ("", None),
            ("http://10.42.0.7:80", None),
            ("http://example.com/a", None),
            ("//example.com/a", None),
            ("http://10.42.0.7:81/a", None),
            ("mailto:somebody@example.com", None),
            ("javascript:go('/a')", None),
            ("data:text/plain,/a", None),
        ] {
            assert_eq!(links.rewrite(link), expected, "{link}");
        }
    }
}
