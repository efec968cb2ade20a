//! Names of images, as far as the kubelet has to understand them.
//!
//! <https://kubernetes.io/docs/concepts/containers/images/#image-names>: without tag and digest,
//! `latest` is meant.

/// The text is no image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": invalid reference format")]
pub(crate) struct InvalidName(String);

/// The name with the default tag added, if it has neither tag nor digest.
pub(crate) fn normalise(text: &str) -> Result<String, InvalidName> {
    let invalid = || InvalidName(text.to_owned());
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash begins a tag; one before it belongs to the registry's port.
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (rest, None),
    };
    let valid = is_repository(repository) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    if !valid {
        return Err(invalid());
    }
    if tag.is_none() && digest.is_none() {
        return Ok(format!("{text}:latest"));
    }
    Ok(text.to_owned())
}

/// The registry of a name, as credentials name it; Docker's for short names.
pub(crate) fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

fn is_repository(text: &str) -> bool {
    if text.is_empty() || text.len() > 255 {
        return false;
    }
    let mut parts = text.split('/').peekable();
    let host = parts.peek().copied().unwrap_or_default();
    if text.contains('/') && (host.contains(['.', ':']) || host == "localhost") {
        parts.next();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return false;
        }
    }
    parts.all(is_component)
}

/// Lower case letters and digits, separated by a dot, one or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let edges = text.starts_with(alphanumeric) && text.ends_with(alphanumeric);
    let separators = text.split(alphanumeric).all(|s| matches!(s, "" | "." | "_" | "__") || s.chars().all(|c| c == '-'));
    edges && separators
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.starts_with(word) && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "+._-".contains(c);
    !algorithm.is_empty() && algorithm.chars().all(plain) && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_default_tag() {
        for (text, full) in [
            ("nginx", "nginx:latest"),
            ("nginx:1.14.2", "nginx:1.14.2"),
            ("a/b_c/d__e", "a/b_c/d__e:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("registry.example.com/a/b:v1", "registry.example.com/a/b:v1"),
        ] {
            assert_eq!(normalise(text).as_deref(), Ok(full));
        }
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        assert_eq!(normalise(&digest), Ok(digest));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "Nginx", "a//b", "a:", "-a", "a b", "a@sha256:12", "a:b:c", "ä", "a/:1"] {
            assert!(normalise(text).is_err(), "{text}");
        }
    }

    #[test]
    fn registries_are_found() {
        assert_eq!(registry("nginx"), "docker.io");
        assert_eq!(registry("library/nginx"), "docker.io");
        assert_eq!(registry("ghcr.io/a/b"), "ghcr.io");
        assert_eq!(registry("localhost:5000/a"), "localhost:5000");
    }
}
