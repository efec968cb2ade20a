use std::fs;
use std::path::PathBuf;

use corten_cri::v1::{CdiDevice, ContainerConfig};
use serde_json::{Value, json};

use super::apply;

const JSON: &str = r#"{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","containerEdits":{"env":["ALL=1"]},
"devices":[{"name":"0","containerEdits":{"env":["A=json"],"deviceNodes":[{"path":"/dev/gpu0","hostPath":"/dev/null"}],
"mounts":[{"hostPath":"/usr","containerPath":"/a/b/c","options":["ro"]}],"hooks":[{"hookName":"createContainer","path":"/bin/true"}],"additionalGids":[44]}},
{"name":"1","containerEdits":{"env":["B=1"]}}]}"#;
const YAML: &str = "cdiVersion: 0.5.0\nkind: vendor.com/gpu\ndevices:\n- name: \"0\"\n  containerEdits:\n    env: [A=yaml]\n";

fn names(names: &[&str]) -> ContainerConfig {
    let cdi_devices = names.iter().map(|name| CdiDevice { name: (*name).to_owned() }).collect();
    ContainerConfig { cdi_devices, ..ContainerConfig::default() }
}

fn edit(config: &ContainerConfig, dirs: &[PathBuf]) -> Result<Value, String> {
    let mut spec = json!({
        "process": { "env": ["A=old", "C=old"], "user": { "additionalGids": [1] } },
        "mounts": [{ "destination": "/proc" }],
        "linux": { "devices": [], "resources": { "devices": [{ "allow": false }] } },
    });
    apply(config, dirs, &mut spec).map(|()| spec).map_err(|error| error.to_string())
}

#[test]
fn a_device_brings_all_that_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("gpu.json"), JSON).unwrap();
    let dirs = [dir.path().to_owned()];
    let spec = edit(&names(&["vendor.com/gpu=0", "vendor.com/gpu=1", "vendor.com/gpu=0"]), &dirs).unwrap();
    assert_eq!(spec["process"]["env"], json!(["C=old", "ALL=1", "A=json", "B=1"]));
    assert_eq!(spec["process"]["user"]["additionalGids"], json!([1, 44]));
    let node = &spec["linux"]["devices"][0];
    assert_eq!((&node["path"], &node["type"], &node["major"], &node["minor"]), (&json!("/dev/gpu0"), &json!("c"), &json!(1), &json!(3)));
    assert_eq!(spec["linux"]["resources"]["devices"][1], json!({ "allow": true, "type": "c", "access": "rwm", "major": 1, "minor": 3 }));
    assert_eq!(spec["mounts"][1]["options"], json!(["ro", "rbind"]));
    assert_eq!(spec["hooks"]["createContainer"][0]["path"], "/bin/true");
    let mut by_annotation = ContainerConfig::default();
    by_annotation.annotations.insert("cdi.k8s.io/x".to_owned(), "vendor.com/gpu=1".to_owned());
    assert_eq!(edit(&by_annotation, &dirs).unwrap()["process"]["env"], json!(["A=old", "C=old", "ALL=1", "B=1"]));
}

#[test]
fn a_later_directory_wins_and_a_conflict_in_one_is_refused() {
    let (low, high) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(low.path().join("gpu.json"), JSON).unwrap();
    fs::write(high.path().join("gpu.yaml"), YAML).unwrap();
    fs::write(high.path().join("notes.txt"), "not ours").unwrap();
    let dirs = [low.path().to_owned(), high.path().to_owned()];
    let spec = edit(&names(&["vendor.com/gpu=0"]), &dirs).unwrap();
    assert_eq!(spec["process"]["env"], json!(["C=old", "A=yaml"]));
    fs::write(high.path().join("other.json"), JSON).unwrap();
    let error = edit(&names(&["vendor.com/gpu=0"]), &dirs).unwrap_err();
    assert!(error.contains("unresolvable CDI devices vendor.com/gpu=0") && error.contains("described twice"), "{error}");
}

#[test]
fn what_nobody_describes_is_refused_and_a_bad_file_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.json"), "{ not json").unwrap();
    fs::write(dir.path().join("b.yaml"), YAML).unwrap();
    fs::write(dir.path().join("c.json"), JSON.replace("vendor.com/gpu", "nonsense")).unwrap();
    fs::write(dir.path().join("d.json"), JSON.replace("0.6.0", "9.0.0").replace("gpu", "future")).unwrap();
    let dirs = [dir.path().to_owned()];
    assert!(edit(&names(&["vendor.com/gpu=0"]), &dirs).is_ok());
    for name in ["vendor.com/gpu=7", "nonsense=0", "vendor.com/future=0", ""] {
        let outcome = edit(&names(&[name]), &dirs);
        assert_eq!(outcome.is_ok(), name.is_empty(), "{name}");
    }
}
