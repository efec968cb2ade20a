use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::{Labels, matches, to_query};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.into(),
            operator: operator.into(),
            values: Some(values.iter().map(|value| (*value).into()).collect()),
        }]),
        ..LabelSelector::default()
    }
}

#[test]
fn selectors_match_as_documented() {
    let web = labels(&[("app", "web"), ("tier", "front")]);
    let equal = |pairs: &[(&str, &str)]| LabelSelector { match_labels: Some(labels(pairs)), ..LabelSelector::default() };
    let cases = [
        (LabelSelector::default(), true),
        (equal(&[("app", "web")]), true),
        (equal(&[("app", "web"), ("tier", "back")]), false),
        (expression("app", "In", &["web", "db"]), true),
        (expression("app", "In", &["db"]), false),
        (expression("none", "In", &["web"]), false),
        (expression("app", "NotIn", &["web"]), false),
        (expression("none", "NotIn", &["web"]), true),
        (expression("app", "Exists", &[]), true),
        (expression("none", "Exists", &[]), false),
        (expression("app", "DoesNotExist", &[]), false),
        (expression("none", "DoesNotExist", &[]), true),
        (expression("app", "Like", &["web"]), false),
    ];
    for (selector, expected) in cases {
        assert_eq!(matches(&selector, Some(&web)), expected, "{selector:?}");
    }
    assert!(!matches(&equal(&[("app", "web")]), None));
}

#[test]
fn selectors_are_written_as_queries() {
    let mut selector = expression("tier", "In", &["a", "b"]);
    selector.match_labels = Some(labels(&[("app", "web")]));
    assert_eq!(to_query(&selector), "app=web,tier in (a,b)");
    assert_eq!(to_query(&expression("x", "DoesNotExist", &[])), "!x");
}
