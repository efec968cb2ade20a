use super::*;
use crate::json::{self, Strictness};
use crate::{table, value};
use std::path::{Path, PathBuf};

/// The reference's own examples of every kind, where `cargo xtask schema` or the Debian package put them.
fn examples() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/schema-sources/unpacked/usr/share/gocode/src");
    [root, PathBuf::from("/usr/share/gocode/src")].into_iter().map(|root| root.join("k8s.io/api/testdata/v1.35.0")).find(|dir| dir.exists())
}

/// Every kind's example: JSON and protobuf give the same tree, and the tree gives the reference's bytes.
#[test]
fn bytes_are_the_references() {
    let Some(dir) = examples() else {
        eprintln!("SKIPPED: no examples of the reference here; `cargo xtask schema` fetches them");
        return;
    };
    let mut seen = 0;
    let mut wrong = Vec::new();
    for resource in table().resources() {
        let group = if resource.group.is_empty() { "core" } else { &resource.group };
        let stem = dir.join(format!("{group}.{}.{}", resource.version, resource.kind));
        let (Ok(text), Ok(bytes)) = (std::fs::read(stem.with_added_extension("json")), std::fs::read(stem.with_added_extension("pb")))
        else {
            continue;
        };
        let tree =
            json::decode(&resource.schema, &text, Strictness::Strict).unwrap_or_else(|error| panic!("{}: {error}", resource.kind)).value;
        let other = decode(&resource.schema, &bytes).unwrap_or_else(|error| panic!("{}: {error}", resource.kind)).value;
        let show = |value: &Value| String::from_utf8(json::encode(value)).unwrap();
        let printed = json::decode_untyped(&text).unwrap();
        if tree != printed {
            wrong.push(format!("{}: not as printed\n{}\n{}", resource.kind, show(&tree), show(&printed)));
        } else if tree != other {
            wrong.push(format!("{}: trees differ\n{}\n{}", resource.kind, show(&tree), show(&other)));
        } else if encode(&resource.schema, &tree) != bytes {
            wrong.push(format!("{}: bytes differ", resource.kind));
        }
        seen += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "{seen}");
}

fn pod() -> Schema {
    table().kind_of("v1", "Pod").unwrap().schema.clone()
}

#[test]
fn the_envelope() {
    let tree = json::canonicalize(&pod(), &value!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}), Strictness::Strict)
        .unwrap()
        .value;
    let bytes = encode(&pod(), &tree);
    assert!(bytes.starts_with(b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12"));
    assert_eq!(type_meta(&bytes).unwrap(), TypeMeta { api_version: "v1".to_owned(), kind: "Pod".to_owned() });
    assert_eq!(decode(&pod(), &bytes).unwrap().value, tree);
    let event = watch_event("ADDED", &bytes);
    let schema = table().meta("WatchEvent").unwrap();
    assert_eq!(decode_message(&schema, &event).unwrap(), value!({"type": "ADDED", "object": (tree)}));
}

#[test]
fn negative_numbers_and_unknown_fields() {
    let tree = value!({"metadata": {}, "spec": {"containers": null, "priority": (-7)}, "status": {}});
    let mut bytes = Vec::new();
    encode_message(&pod(), &tree, &mut bytes);
    bytes.extend([0xf8, 0x3f, 5]);
    assert_eq!(decode_message(&pod(), &bytes).unwrap(), tree);
}

#[test]
fn broken_bytes_are_refused() {
    for bytes in [
        &b""[..],
        b"k8s",
        b"k8s\0\x0a",
        b"k8s\0\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"k8s\0\x12\x02\x0a\x05",
        b"k8s\0\x12\x02\x08\x05",
        b"k8s\0\x0f",
        b"{}",
    ] {
        assert!(matches!(decode(&pod(), bytes), Err(DecodeError::Proto(_))), "{bytes:?}");
    }
    let mut deep = Vec::new();
    for _ in 0..100_000 {
        // The tag of `not`, again and again; lengths are wrong, but depth comes first.
        deep.extend([0xe2, 0x01, 0xff, 0x7f]);
    }
    let schema = table().schema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps").unwrap();
    assert!(decode_message(&schema, &deep).is_err());
    let mut nested = Vec::new();
    for _ in 0..1000 {
        let mut outer = Vec::new();
        wire::put_bytes(schema.describe().field("not").unwrap().tag, &nested, &mut outer);
        nested = outer;
    }
    assert_eq!(decode_message(&schema, &nested).unwrap_err().to_string(), "exceeded max depth");
}
