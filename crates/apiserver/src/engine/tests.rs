//! The decisions of the engine that need no server.

use corten_schema::{json::decode_untyped, table};
use corten_store::Revision;
use serde_json::json;

use super::{
    Kind, Kinds,
    delete::{DeleteOptions, Propagation, Step, step},
    names,
    selector::{FieldSelector, LabelSelector},
    token::Token,
};
use crate::strategy::NameRule;

fn kind(group: &str, plural: &str) -> std::sync::Arc<Kind> {
    std::sync::Arc::clone(Kinds::new(table()).find(group, "v1", plural).unwrap())
}

fn value(json: serde_json::Value) -> corten_schema::Value {
    decode_untyped(json.to_string().as_bytes()).unwrap()
}

#[test]
fn label_selectors() {
    let labels = [("app", "web"), ("tier", "2"), ("example.com/x", "")];
    let label = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
    for (text, expected) in [
        ("", true),
        ("  ", true),
        ("app=web", true),
        (" app == web , tier ", true),
        ("app!=web", false),
        ("none!=web", true),
        ("app in (db,web)", true),
        ("app notin (db)", true),
        ("none in (a)", false),
        ("none notin (a)", true),
        ("!none", true),
        ("!app", false),
        ("tier>1,tier<3", true),
        ("app>1", false),
        ("example.com/x=", true),
        ("example.com/x in (,a)", true),
    ] {
        assert_eq!(LabelSelector::parse(text).unwrap().matches(label), expected, "{text}");
    }
    for text in ["=", "a=b=c", "a in", "a in (b", "a b", "a,", ",", "a>x", "-a", "a=b!", "/x", "a/b/c", "a in ((b))"] {
        assert!(LabelSelector::parse(text).is_err(), "{text}");
    }
}

#[test]
fn field_selectors() {
    let pods = kind("", "pods");
    let selector = FieldSelector::parse("spec.nodeName=n1,metadata.name!=x", &pods).unwrap();
    assert_eq!(selector.pin(), Some(("spec.nodeName", "n1")));
    assert_eq!(selector.exact("metadata.name"), None);
    let escaped = FieldSelector::parse("metadata.name=a\\,b\\=c", &pods).unwrap();
    assert_eq!(escaped.exact("metadata.name"), Some("a,b=c"));
    assert!(FieldSelector::parse("", &pods).unwrap().is_empty());
    for text in ["spec.none=1", "metadata.name", "metadata.labels.x=1"] {
        assert!(FieldSelector::parse(text, &pods).is_err(), "{text}");
    }
}

#[test]
fn names_by_rule() {
    let valid = |rule, name: &str| names::violations(rule, name).is_empty();
    let long = "a".repeat(254);
    for (name, subdomain, label, label_1035, segment) in [
        ("a", true, true, true, true),
        ("a-b.c-d", true, false, false, true),
        ("1a", true, true, false, true),
        ("system:node", false, false, false, true),
        ("-a", false, false, false, true),
        ("a.", false, false, false, true),
        ("..", false, false, false, false),
        ("a/b", false, false, false, false),
        ("a%b", false, false, false, false),
        ("Ä", false, false, false, true),
        (long.as_str(), false, false, false, true),
    ] {
        let found = [NameRule::Subdomain, NameRule::Label, NameRule::Label1035, NameRule::PathSegment].map(|r| valid(r, name));
        assert_eq!(found, [subdomain, label, label_1035, segment], "{name}");
    }
    assert_eq!(names::violations(NameRule::Subdomain, &long), ["must be no more than 253 bytes"]);
    let made = names::generate(&"ä".repeat(100));
    assert!(made.len() <= 63 && made.starts_with('ä'), "{made}");
}

#[test]
fn continue_tokens() {
    let token = Token { revision: Some(Revision(7)), last: "default/x".to_owned() };
    assert_eq!(Token::decode(&token.encode()).unwrap(), token);
    let restart = Token { revision: None, last: "x".to_owned() };
    assert_eq!(Token::decode(&restart.encode()).unwrap(), restart);
    for text in ["", "!", "e30", "bm9uc2Vuc2U"] {
        assert!(Token::decode(text).is_err(), "{text}");
    }
}

/// What becomes of a pod: `remove`, `mark <seconds> <finalizers>` or `nothing`.
fn decision(metadata: serde_json::Value, options: &DeleteOptions) -> String {
    let pods = kind("", "pods");
    let mut pod = value(json!({
        "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Running"},
    }));
    pod.insert("metadata", value(metadata));
    match step(&pods, options, &pod) {
        Step::Remove(_) => "remove".to_owned(),
        Step::Nothing(_) => "nothing".to_owned(),
        Step::Mark(object) => {
            let seconds = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(|v| v.as_i64()).unwrap();
            let finalizers: Vec<&str> = object.finalizers().collect();
            format!("mark {seconds} {}", finalizers.join(",")).trim_end().to_owned()
        }
    }
}

#[test]
fn what_a_deletion_does() {
    let plain = DeleteOptions::default();
    let grace = |seconds| DeleteOptions { grace_period: Some(seconds), ..DeleteOptions::default() };
    let policy = |policy| DeleteOptions { propagation: Some(policy), ..grace(0) };
    let ending = |seconds: i64| json!({"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": seconds});
    let held = json!({"name": "x", "finalizers": ["example.com/a"]});
    let mut held_ending = ending(0);
    held_ending["finalizers"] = json!(["example.com/a"]);
    for (metadata, options, expected) in [
        (json!({"name": "x"}), &plain, "mark 30"),
        (json!({"name": "x"}), &grace(5), "mark 5"),
        (json!({"name": "x"}), &grace(0), "remove"),
        (ending(30), &plain, "nothing"),
        (ending(30), &grace(10), "mark 10"),
        (ending(30), &grace(60), "nothing"),
        (ending(30), &grace(0), "remove"),
        (ending(0), &plain, "remove"),
        (held.clone(), &grace(0), "mark 0 example.com/a"),
        (held_ending.clone(), &grace(0), "nothing"),
        (held_ending, &plain, "nothing"),
        (json!({"name": "x"}), &policy(Propagation::Foreground), "mark 0 foregroundDeletion"),
        (held, &policy(Propagation::Orphan), "mark 0 example.com/a,orphan"),
        (json!({"name": "x", "finalizers": ["orphan"]}), &policy(Propagation::Background), "remove"),
    ] {
        assert_eq!(decision(metadata.clone(), options), expected, "{metadata} {options:?}");
    }
}

#[test]
fn a_shorter_grace_period_only_brings_the_end_forward() {
    let pods = kind("", "pods");
    let ending = |finalizers: &[&str]| {
        value(json!({
            "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30, "finalizers": finalizers},
            "spec": {"nodeName": "n"},
            "status": {"phase": "Running"},
        }))
    };
    for (pod, requested, expected) in [(ending(&[]), 10, "2026-01-01T00:00:10Z"), (ending(&["example.com/a"]), 0, "2026-01-01T00:00:00Z")] {
        let options = DeleteOptions { grace_period: Some(requested), ..DeleteOptions::default() };
        let Step::Mark(marked) = step(&pods, &options, &pod) else { panic!("not marked") };
        assert_eq!(marked.deletion_timestamp(), Some(expected));
    }
}
