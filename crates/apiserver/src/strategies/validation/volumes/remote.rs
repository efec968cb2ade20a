//! Volumes of other systems. Most of them only say which fields they cannot be without.

use corten_schema::Value;

use crate::status::FieldError;
use crate::strategies::validation::{
    Errors, Path, invalid_number, mounts, names, one_of, optional_name, required, required_name, values_of,
};
use crate::view::{at, entries, flag, int, list, text, texts};

/// The source `kind` of a volume called `name`.
pub fn validate(errors: &mut Errors, volume: Path<'_>, name: &str, kind: &str, source: &Value) {
    let path = volume.field(kind);
    match kind {
        "nfs" => {
            required(errors, path, source, &["server", "path"]);
            if !text(source, "path").starts_with('/') {
                errors.push(FieldError::invalid(path.field("path"), text(source, "path"), "must be an absolute path"));
            }
        }
        "csi" => csi(errors, path, source),
        "iscsi" => iscsi(errors, volume, path, name, source),
        "fc" => fibre_channel(errors, path, source),
        "azureDisk" => azure_disk(errors, path, source),
        "azureFile" => required(errors, path, source, &["secretName", "shareName"]),
        // The path is the reference's.
        "gcePersistentDisk" => disk(errors, volume.field("persistentDisk"), source, "pdName"),
        "awsElasticBlockStore" => disk(errors, path, source, "volumeID"),
        "cinder" => {
            required(errors, path, source, &["volumeID"]);
            secret(errors, path, source);
        }
        "storageos" => {
            required_name(errors, path.field("volumeName"), text(source, "volumeName"), names::label);
            optional_name(errors, path.field("volumeNamespace"), text(source, "volumeNamespace"), names::label);
            secret(errors, path, source);
        }
        "gitRepo" => {
            required(errors, path, source, &["repository"]);
            mounts::descending(errors, path.field("directory"), text(source, "directory"));
        }
        "glusterfs" => required(errors, path, source, &["endpoints", "path"]),
        "flocker" => flocker(errors, path, source),
        "flexVolume" => {
            required(errors, path, source, &["driver"]);
            reserved(errors, path.field("options"), source);
        }
        "rbd" => {
            monitors(errors, path, source);
            required(errors, path, source, &["image"]);
        }
        "cephfs" => monitors(errors, path, source),
        "quobyte" => quobyte(errors, path, source),
        "vsphereVolume" => required(errors, path, source, &["volumePath"]),
        "photonPersistentDisk" => required(errors, path, source, &["pdID"]),
        "portworxVolume" => required(errors, path, source, &["volumeID"]),
        "scaleIO" => required(errors, path, source, &["gateway", "system", "volumeName"]),
        _ => {}
    }
}

fn secret(errors: &mut Errors, path: Path<'_>, source: &Value) {
    if let Some(reference) = at(source, "secretRef") {
        required(errors, path.field("secretRef"), reference, &["name"]);
    }
}

fn monitors(errors: &mut Errors, path: Path<'_>, source: &Value) {
    if list(source, "monitors").len() == 0 {
        errors.push(FieldError::required(path.field("monitors"), ""));
    }
}

fn disk(errors: &mut Errors, path: Path<'_>, source: &Value, id: &str) {
    required(errors, path, source, &[id]);
    let partition = int(source, "partition").unwrap_or_default();
    // 0 is the whole disk; the words are the reference's.
    if !(0..=255).contains(&partition) {
        errors.push(FieldError::invalid(path.field("partition"), partition, "must be between 1 and 255, inclusive"));
    }
}

fn csi(errors: &mut Errors, path: Path<'_>, source: &Value) {
    let driver = text(source, "driver");
    if driver.len() > 63 {
        errors.push(FieldError::too_long(path.field("driver"), 63));
    }
    required_name(errors, path.field("driver"), driver, names::driver);
    if let Some(reference) = at(source, "nodePublishSecretRef") {
        let name = text(reference, "name");
        if name.is_empty() {
            required(errors, path.field("nodePublishSecretRef"), reference, &["name"]);
        }
        optional_name(errors, path.field("name"), name, names::subdomain);
    }
}

fn iscsi(errors: &mut Errors, volume: Path<'_>, path: Path<'_>, name: &str, source: &Value) {
    required(errors, path, source, &["targetPortal", "iqn"]);
    initiator(errors, path.field("iqn"), text(source, "iqn"));
    let lun = int(source, "lun").unwrap_or_default();
    invalid_number(errors, path.field("lun"), lun, names::in_range(lun, 0, 255));
    if (flag(source, "chapAuthDiscovery") || flag(source, "chapAuthSession")) && at(source, "secretRef").is_none() {
        errors.push(FieldError::required(path.field("secretRef"), ""));
    }
    if at(source, "initiatorName").is_some() {
        initiator(errors, path.field("initiatorname"), text(source, "initiatorName"));
        if name.len() + 1 + text(source, "targetPortal").len() > 64 {
            let words =
                "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
            errors.push(FieldError::invalid(volume.field("name"), name, words));
        }
    }
}

/// A name of iSCSI: `iqn.2001-04.com.example:x`, or hexadecimal digits after `eui.` or `naa.`.
fn initiator(errors: &mut Errors, path: Path<'_>, name: &str) {
    if name.is_empty() {
        return;
    }
    let hexadecimal =
        |digits: &str, lengths: &[usize]| lengths.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let valid = if name.starts_with("iqn") {
        qualified(name)
    } else if name.starts_with("eui") {
        name.strip_prefix("eui.").is_some_and(|digits| hexadecimal(digits, &[16]))
    } else if name.starts_with("naa") {
        name.strip_prefix("naa.").is_some_and(|digits| hexadecimal(digits, &[16, 32]))
    } else {
        errors.push(FieldError::invalid(path, name, "must be valid format starting with iqn, eui, or naa"));
        return;
    };
    if !valid {
        errors.push(FieldError::invalid(path, name, "must be valid format"));
    }
}

fn qualified(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("iqn.") else { return false };
    let Some((date, host)) = rest.split_once('.') else { return false };
    let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let (domain, own) = host.split_once(':').map_or((host, None), |(domain, own)| (domain, Some(own)));
    date.split_once('-').is_some_and(|(year, month)| digits(year, 4) && digits(month, 2))
        && !domain.is_empty()
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && own.is_none_or(|own| !own.is_empty() && !own.contains(char::is_whitespace))
}

fn fibre_channel(errors: &mut Errors, path: Path<'_>, source: &Value) {
    let (targets, wwids) = (list(source, "targetWWNs").len(), list(source, "wwids").len());
    let field = path.field("targetWWNs");
    if targets == 0 && wwids == 0 {
        errors.push(FieldError::required(field, "must specify either targetWWNs or wwids, but not both"));
    }
    if targets > 0 && wwids > 0 {
        let shown: Vec<&str> = texts(source, "targetWWNs").collect();
        errors.push(FieldError::invalid(field, shown, "targetWWNs and wwids can not be specified simultaneously"));
    }
    match int(source, "lun") {
        None if targets > 0 => errors.push(FieldError::required(path.field("lun"), "lun is required if targetWWNs is specified")),
        Some(lun) if targets > 0 => invalid_number(errors, path.field("lun"), lun, names::in_range(lun, 0, 255)),
        _ => {}
    }
}

fn azure_disk(errors: &mut Errors, path: Path<'_>, source: &Value) {
    required(errors, path, source, &["diskName", "diskURI"]);
    one_of(errors, path.field("cachingMode"), text(source, "cachingMode"), values_of("core.v1.AzureDiskVolumeSource", "cachingMode"));
    let kind = text(source, "kind");
    one_of(errors, path.field("kind"), kind, values_of("core.v1.AzureDiskVolumeSource", "kind"));
    let address = text(source, "diskURI");
    let form = match kind {
        "Managed" if !address.starts_with("/subscriptions/") => {
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
        }
        "Managed" => return,
        _ if !address.starts_with("https://") => "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        _ => return,
    };
    errors.push(FieldError::not_supported(path.field("diskURI"), address, &[form]));
}

fn flocker(errors: &mut Errors, path: Path<'_>, source: &Value) {
    let name = text(source, "datasetName");
    match (name.is_empty(), text(source, "datasetUUID").is_empty()) {
        (true, true) => errors.push(FieldError::required(path, "one of datasetName and datasetUUID is required")),
        (false, false) => {
            errors.push(FieldError::invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously"));
        }
        _ => {}
    }
    if name.contains('/') {
        errors.push(FieldError::invalid(path.field("datasetName"), name, "must not contain '/'"));
    }
}

fn reserved(errors: &mut Errors, path: Path<'_>, source: &Value) {
    for (key, _) in entries(source, "options") {
        let domain = format!(".{}", key.split_once('/').map_or(key, |(domain, _)| domain).to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            errors.push(FieldError::invalid(path.key(key), key, "kubernetes.io and k8s.io namespaces are reserved"));
        }
    }
}

fn quobyte(errors: &mut Errors, path: Path<'_>, source: &Value) {
    let words = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(source, "registry");
    if registry.is_empty() {
        errors.push(FieldError::required(path.field("registry"), words));
    } else if text(source, "tenant").len() > 64 {
        errors.push(FieldError::required(path.field("tenant"), "must be a UUID and may not exceed a length of 64 characters"));
    } else {
        let valid = |pair: &str| pair.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
        if !registry.split(',').all(valid) {
            errors.push(FieldError::invalid(path.field("registry"), registry, words));
        }
    }
    required(errors, path, source, &["volume"]);
}
