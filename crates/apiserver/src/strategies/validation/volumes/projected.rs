//! Projected volumes: files from several sources in one directory.

use std::collections::HashSet;

use corten_schema::Value;

use super::{downward, keys};
use crate::status::FieldError;
use crate::strategies::validation::{Errors, Path, invalid_all, labels, mounts, names, required};
use crate::view::{at, int, list, text};

/// `sources` of a projected volume; no two of them may make the same file.
pub(super) fn sources<'a>(errors: &mut Errors, path: Path<'_>, source: &'a Value) {
    let mut taken: HashSet<&str> = HashSet::new();
    let all = path.field("sources");
    let mut claim = |errors: &mut Errors, file: &'a str, shown: &str| {
        if !file.is_empty() && !taken.insert(file) {
            errors.push(FieldError::invalid(path, shown, "conflicting duplicate paths"));
        }
    };
    for (number, part) in list(source, "sources").enumerate() {
        let at_part = all.index(number);
        let mut kinds = 0;
        for kind in ["secret", "configMap"] {
            let Some(reference) = at(part, kind) else { continue };
            kinds += 1;
            let path = at_part.field(kind);
            required(errors, path, reference, &["name"]);
            keys(errors, path, reference);
            for item in list(reference, "items") {
                claim(errors, text(item, "path"), text(reference, "name"));
            }
        }
        if let Some(files) = at(part, "downwardAPI") {
            kinds += 1;
            for item in list(files, "items") {
                downward(errors, at_part.field("downwardAPI"), item);
                claim(errors, text(item, "path"), text(item, "path"));
            }
        }
        if let Some(wanted) = at(part, "serviceAccountToken") {
            kinds += 1;
            token(errors, path, at_part.field("serviceAccountToken"), wanted);
        }
        if let Some(bundle) = at(part, "clusterTrustBundle") {
            kinds += 1;
            trust(errors, at_part.field("clusterTrustBundle"), bundle);
            claim(errors, text(bundle, "path"), text(bundle, "path"));
        }
        if let Some(wanted) = at(part, "podCertificate") {
            kinds += 1;
            let files = ["credentialBundlePath", "keyPath", "certificateChainPath"];
            certificate(errors, at_part.field("podCertificate"), wanted, &files);
            for file in files {
                claim(errors, text(wanted, file), text(wanted, file));
            }
        }
        if kinds > 1 {
            errors.push(FieldError::forbidden(at_part, "may not specify more than 1 volume type per source"));
        }
    }
}

/// `volume` is where the reference reports a missing path.
fn token(errors: &mut Errors, volume: Path<'_>, path: Path<'_>, token: &Value) {
    let seconds = int(token, "expirationSeconds").unwrap_or_default();
    if seconds < 600 {
        let words = "may not specify a duration less than 10 minutes";
        errors.push(FieldError::invalid(path.field("expirationSeconds"), seconds, words));
    }
    if seconds > 1 << 32 {
        let words = "may not specify a duration larger than 2^32 seconds";
        errors.push(FieldError::invalid(path.field("expirationSeconds"), seconds, words));
    }
    required(errors, volume, token, &["path"]);
    mounts::projected(errors, volume.field("path"), text(token, "path"));
}

fn trust(errors: &mut Errors, path: Path<'_>, bundle: &Value) {
    match (at(bundle, "name"), at(bundle, "signerName")) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(path, bundle, "only one of name and signerName may be used")),
        (Some(_), None) => {
            let name = text(bundle, "name");
            if name.is_empty() {
                errors.push(FieldError::required(path.field("name"), "must be a valid object name"));
            }
            let own = name.rsplit(':').next().unwrap_or_default();
            for words in names::subdomain(own) {
                let words = format!("not a valid clustertrustbundlename: {words}");
                errors.push(FieldError::invalid(path.field("name"), name, words));
            }
            if let Some(selector) = at(bundle, "labelSelector") {
                let words = "labelSelector must be unset if name is specified";
                errors.push(FieldError::invalid(path.field("labelSelector"), selector, words));
            }
        }
        (None, Some(_)) => {
            signer(errors, path.field("signerName"), text(bundle, "signerName"));
            if let Some(selector) = at(bundle, "labelSelector") {
                labels::selector(errors, path.field("labelSelector"), selector);
            }
        }
        (None, None) => errors.push(FieldError::required(path, "either name or signerName must be specified")),
    }
    required(errors, path, bundle, &["path"]);
    mounts::projected(errors, path.field("path"), text(bundle, "path"));
}

/// A signer: a domain, a slash, a path.
fn signer(errors: &mut Errors, path: Path<'_>, name: &str) {
    match name.split_once('/') {
        _ if name.is_empty() => errors.push(FieldError::required(path, "")),
        Some((domain, rest)) if !rest.contains('/') => {
            invalid_all(errors, path, domain, names::subdomain(domain));
            invalid_all(errors, path, rest, names::subdomain(rest));
        }
        _ => {
            let words = "must be a fully qualified domain and path of the form \"example.com/signer-name\"";
            errors.push(FieldError::invalid(path, name, words));
        }
    }
}

const KEYS: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];
const DAY: i64 = 24 * 60 * 60;

fn certificate(errors: &mut Errors, path: Path<'_>, wanted: &Value, files: &[&str]) {
    let name = text(wanted, "signerName");
    signer(errors, path.field("signerName"), name);
    let key = text(wanted, "keyType");
    if !KEYS.contains(&key) {
        errors.push(FieldError::not_supported_as_given(path.field("keyType"), key, &KEYS));
    }
    if let Some(seconds) = int(wanted, "maxExpirationSeconds") {
        let own = name.split('/').next().is_some_and(|domain| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io"));
        let most = if own { DAY } else { 91 * DAY };
        let path = path.field("maxExpirationSeconds");
        if seconds < 3600 {
            errors.push(FieldError::invalid(path, seconds, "if provided, maxExpirationSeconds must be >= 3600"));
        }
        if seconds > most {
            errors.push(FieldError::invalid(path, seconds, format!("if provided, maxExpirationSeconds must be <= {most}")));
        }
    }
    for file in files {
        mounts::projected(errors, path.field(file), text(wanted, file));
    }
    if files.iter().all(|file| text(wanted, file).is_empty()) {
        let words = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.push(FieldError::required(path, words));
    }
}
