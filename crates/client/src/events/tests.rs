use k8s_openapi::{
    api::core::v1::{EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource as _;

use super::{EventType, Report, name, new_event, said};

fn report(revision: &str) -> Report {
    let pod = Pod {
        metadata: ObjectMeta { name: Some("web".into()), namespace: Some("shop".into()), uid: Some("u1".into()), ..ObjectMeta::default() },
        ..Pod::default()
    };
    Report {
        about: ObjectReference { resource_version: Some(revision.into()), ..pod.object_ref(&()) },
        kind: EventType::Warning,
        reason: "BackOff".into(),
        message: "back-off".into(),
    }
}

#[test]
fn an_event_says_what_describe_prints() {
    let source = EventSource { component: Some("kubelet".into()), host: Some("node-1".into()) };
    let report = report("7");
    let event = new_event(&report, "shop", name(&report, 0xf00), &source, &crate::now());
    assert_eq!(event.involved_object.kind.as_deref(), Some("Pod"));
    assert_eq!(event.involved_object.uid.as_deref(), Some("u1"));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.count, Some(1));
    assert_eq!(event.first_timestamp, event.last_timestamp);
    assert_eq!(event.source, Some(source));
    assert_eq!(event.metadata.name.unwrap(), "web.f00");
}

#[test]
fn repeats_are_recognised_whatever_the_revision() {
    assert_eq!(said(&report("7")), said(&report("8")));
    let changes: [fn(&mut Report); 4] = [
        |report| report.message.push('!'),
        |report| report.reason.push('!'),
        |report| report.kind = EventType::Normal,
        |report| report.about.uid = Some("u2".into()),
    ];
    for change in changes {
        let mut other = report("7");
        change(&mut other);
        assert_ne!(said(&other), said(&report("7")));
    }
}
