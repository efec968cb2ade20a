use k8s_openapi::{
    api::core::v1::{EventSource, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource as _;

use super::{EventType, Reference, Report, new_event, same};

fn report(revision: &str) -> Report {
    let pod = Pod {
        metadata: ObjectMeta { name: Some("web".into()), namespace: Some("shop".into()), uid: Some("u1".into()), ..ObjectMeta::default() },
        ..Pod::default()
    };
    let about = pod.object_ref(&());
    Report {
        about: Reference {
            api_version: about.api_version,
            kind: about.kind,
            namespace: about.namespace,
            name: about.name,
            uid: about.uid,
            field_path: None,
            resource_version: Some(revision.into()),
        },
        kind: EventType::Warning,
        reason: "BackOff".into(),
        message: "back-off".into(),
    }
}

#[test]
fn an_event_says_what_describe_prints() {
    let source = EventSource { component: Some("kubelet".into()), host: Some("node-1".into()) };
    let event = new_event(&report("7"), "shop", &source, &crate::now());
    assert_eq!(event.involved_object.kind.as_deref(), Some("Pod"));
    assert_eq!(event.involved_object.uid.as_deref(), Some("u1"));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.count, Some(1));
    assert_eq!(event.first_timestamp, event.last_timestamp);
    assert_eq!(event.source, Some(source));
    let name = event.metadata.name.unwrap();
    assert!(name.starts_with("web."), "{name}");
}

#[test]
fn repeats_are_recognised_whatever_the_revision() {
    assert_eq!(same(&report("7")), same(&report("8")));
    assert_ne!(report("7"), report("8"));
}
