use super::*;
use crate::json::{decode_untyped, encode};
use crate::value;

#[test]
fn paths_and_equality() {
    let mut pod = value!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"containers": [{"name": "c"}]}});
    assert_eq!(pod.name(), "a");
    assert_eq!(pod.label("x"), Some("y"));
    assert_eq!(pod.pointer("/spec/containers/0/name").and_then(Value::as_str), Some("c"));
    pod.set_at(&["spec", "nodeName"], "n");
    assert_eq!(pod.str_at(&["spec", "nodeName"]), "n");
    assert_eq!(pod.remove_at(&["spec", "nodeName"]), Some("n".into()));
    assert_eq!(value!({"a": 1, "b": 2}), value!({"b": 2, "a": 1}));
    assert_ne!(value!({"a": 1}), value!({"a": 1, "b": null}));
}

#[test]
fn sorted_maps_stay_sorted() {
    let mut map: Map = (0..40).rev().map(|n| (format!("k{n:02}"), n)).collect();
    map.insert("k20a", 5);
    map.remove("k03");
    assert!(map.keys().is_sorted());
    assert_eq!(map.get("k20a"), Some(&Value::Int(5)));
    assert_eq!(map.get("k03"), None);
    assert_eq!(map.insert("k00", 7), Some(Value::Int(0)));
}

#[test]
fn typed_views() {
    #[derive(::serde::Deserialize, ::serde::Serialize, PartialEq, Debug)]
    struct View {
        name: String,
        count: Option<i32>,
        kind: Kind,
    }
    #[derive(::serde::Deserialize, ::serde::Serialize, PartialEq, Debug)]
    enum Kind {
        Simple,
    }
    let tree = value!({"name": "a", "count": 3, "kind": "Simple", "more": [1, 2.5]});
    let view: View = tree.view().unwrap();
    assert_eq!(view, View { name: "a".to_owned(), count: Some(3), kind: Kind::Simple });
    assert_eq!(Value::from_view(&view).unwrap(), value!({"name": "a", "count": 3, "kind": "Simple"}));
    assert!(value!({"name": 1}).view::<View>().is_err());
}

#[test]
fn a_clone_that_is_changed_leaves_the_other_as_it_is() {
    let text = r#"{"a":{"b":{"c":"d"},"e":"f"},"g":[{"h":1}]}"#;
    let one = decode_untyped(text.as_bytes()).unwrap();
    let changes: [fn(&mut Value); 6] = [
        |other| other.set_at(&["a", "b", "c"], "x"),
        |other| drop(other.at_mut(&["a"]).unwrap().remove("e")),
        |other| other.insert("new", 1),
        |other| other.get_mut("g").unwrap().as_list_mut().unwrap().iter_mut().for_each(|item| item.insert("h", 2)),
        |other| other.at_mut(&["a"]).unwrap().as_map_mut().unwrap().retain(|_, _| false),
        |other| other.as_map_mut().unwrap().iter_mut().for_each(|(_, value)| *value = Value::Null),
    ];
    for change in changes {
        let mut other = one.clone();
        assert_eq!(other, one);
        change(&mut other);
        assert_ne!(other, one);
        assert_eq!(encode(&one), text.as_bytes());
    }
}

#[test]
fn what_says_the_same_becomes_the_very_same() {
    let one = value!({"a": {"b": 1}, "c": {"d": 2}, "e": [{"f": 3}], "g": 4});
    let mut other = value!({"h": 5, "e": [{"f": 3}], "c": {"d": 6}, "a": {"b": 1}});
    let before = other.clone();
    other.share(&one);
    assert_eq!(other, before);
    let entries = |value: &Value, name: &str| value.get(name).and_then(Value::as_map).unwrap().keys().next().map(std::ptr::from_ref);
    assert_eq!(entries(&other, "a"), entries(&one, "a"));
    assert_ne!(entries(&other, "c"), entries(&one, "c"));
    // What was shared is still nobody else's to change.
    other.set_at(&["a", "b"], 7);
    assert_eq!(one.at(&["a", "b"]), Some(&Value::Int(1)));
}
