//! Options of reads and deletions: every combination, and what is said about those that contradict themselves.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{Api, CONFIG_MAPS, config_map};

/// `resourceVersion`, `resourceVersionMatch`, whether pages are asked for, whether a page is continued: what comes of it.
#[tokio::test]
async fn every_combination_of_version_and_match_in_lists() {
    let api = Api::start().await;
    for name in ["a", "b"] {
        api.created(CONFIG_MAPS, config_map(name)).await;
    }
    let old = api.get(CONFIG_MAPS).ok().await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    api.created(CONFIG_MAPS, config_map("c")).await;
    let new = api.get(CONFIG_MAPS).ok().await["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let page = api.get(&format!("{CONFIG_MAPS}?limit=1")).ok().await;
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();

    let forbidden = "resourceVersionMatch: Forbidden: ";
    for version in ["", "0", old.as_str()] {
        for word in ["", "Exact", "NotOlderThan", "Wrong"] {
            for limited in [false, true] {
                for continued in [false, true] {
                    let mut query = vec![];
                    for (key, value) in [("resourceVersion", version), ("resourceVersionMatch", word)] {
                        if !value.is_empty() {
                            query.push(format!("{key}={value}"));
                        }
                    }
                    if limited {
                        query.push("limit=10".to_owned());
                    }
                    if continued {
                        query.push(format!("continue={token}"));
                    }
                    let query = query.join("&");
                    let mut errors = Vec::new();
                    if !word.is_empty() && version.is_empty() {
                        errors.push(format!("{forbidden}resourceVersionMatch is forbidden unless resourceVersion is provided"));
                    }
                    if !word.is_empty() && continued {
                        errors.push(format!("{forbidden}resourceVersionMatch is forbidden when continue is provided"));
                    }
                    if word == "Exact" && version == "0" {
                        errors.push(format!("{forbidden}resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""));
                    }
                    if word == "Wrong" {
                        errors.push(
                            "resourceVersionMatch: Unsupported value: \"Wrong\": supported values: \"Exact\", \"NotOlderThan\", \"\""
                                .to_owned(),
                        );
                    }
                    let answer = api.get(&format!("{CONFIG_MAPS}?{query}")).send().await;
                    let body = answer.json();
                    if !errors.is_empty() {
                        assert_eq!(answer.code, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
                        let list = if errors.len() == 1 { errors[0].clone() } else { format!("[{}]", errors.join(", ")) };
                        assert_eq!(body["message"], format!("ListOptions.meta.k8s.io \"\" is invalid: {list}"), "{query}");
                        continue;
                    }
                    if continued && !matches!(version, "" | "0") {
                        assert_eq!(answer.code, StatusCode::BAD_REQUEST, "{query}: {body}");
                        assert_eq!(body["message"], "specifying resource version is not allowed when using continue", "{query}");
                        continue;
                    }
                    assert_eq!(answer.code, StatusCode::OK, "{query}: {body}");
                    // A page of a version without a word is exactly of that version, as it has always been.
                    let exact = version == old && (word == "Exact" || (limited && word.is_empty()));
                    let shown = names(&body);
                    let expected: &[&str] = match (continued, exact) {
                        (true, _) => &["b", "c"],
                        (false, true) => &["a", "b"],
                        (false, false) => &["a", "b", "c"],
                    };
                    assert_eq!(shown, expected, "{query}");
                    assert_eq!(body["metadata"]["resourceVersion"], if exact { old.clone() } else { new.clone() }, "{query}");
                }
            }
        }
    }
    let status = api.get(&format!("{CONFIG_MAPS}?sendInitialEvents=true")).fails(422).await;
    assert_eq!(
        status["message"],
        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"
    );
    for query in ["resourceVersion=abc", "resourceVersion=-1", "limit=x", "continue=x", "timeout=10"] {
        api.get(&format!("{CONFIG_MAPS}?{query}")).fails(400).await;
    }
    // Nothing is that new yet: the client is told when to come back.
    let status = api.get(&format!("{CONFIG_MAPS}?resourceVersion=999999999")).fails(504).await;
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn versions_of_gets() {
    let api = Api::start().await;
    let made = api.created(CONFIG_MAPS, config_map("a")).await;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    for query in ["", "?resourceVersion=0", &format!("?resourceVersion={version}"), "?resourceVersion=1"] {
        assert_eq!(api.get(&format!("{CONFIG_MAPS}/a{query}")).ok().await, made, "{query}");
    }
    api.get(&format!("{CONFIG_MAPS}/a?resourceVersion=x")).fails(400).await;
    api.get(&format!("{CONFIG_MAPS}/a?resourceVersion=999999999")).fails(504).await;
}

#[tokio::test]
async fn every_combination_of_options_of_watches() {
    let api = Api::start().await;
    api.created(CONFIG_MAPS, config_map("before")).await;
    let forbidden = "resourceVersionMatch: Forbidden: ";
    for initial in ["", "true", "false"] {
        for word in ["", "NotOlderThan", "Exact"] {
            let mut errors = Vec::new();
            if !initial.is_empty() && word != "NotOlderThan" {
                errors.push(format!("{forbidden}sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
            }
            if !word.is_empty() && initial.is_empty() {
                errors.push(format!("{forbidden}resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
            }
            if word == "Exact" {
                errors.push("resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"".to_owned());
            }
            let mut query = "watch=1&timeoutSeconds=1".to_owned();
            for (key, value) in [("sendInitialEvents", initial), ("resourceVersionMatch", word)] {
                if !value.is_empty() {
                    query.push_str(&format!("&{key}={value}"));
                }
            }
            let answer = api.get(&format!("{CONFIG_MAPS}?{query}")).send().await;
            if errors.is_empty() {
                assert_eq!(answer.code, StatusCode::OK, "{query}: {}", answer.text());
                // What was there before is told unless that is refused.
                assert_eq!(answer.text().contains("\"before\""), initial != "false", "{query}");
                assert_eq!(answer.text().contains("k8s.io/initial-events-end"), initial == "true", "{query}");
            } else {
                assert_eq!(answer.code, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
                let list = if errors.len() == 1 { errors[0].clone() } else { format!("[{}]", errors.join(", ")) };
                assert_eq!(answer.json()["message"], format!("ListOptions.meta.k8s.io \"\" is invalid: {list}"), "{query}");
            }
        }
    }
    let answer = api.get(&format!("{CONFIG_MAPS}?watch=1")).header("accept", "application/yaml").send().await;
    assert_eq!((answer.code, answer.header("content-type")), (StatusCode::NOT_ACCEPTABLE, "application/yaml"));
    let words =
        "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    assert!(answer.text().contains(words), "{}", answer.text());
}

/// The same options as JSON, YAML and protobuf, in any group's version, and in the query.
#[tokio::test]
async fn options_of_deletions_in_every_form() {
    let api = Api::start().await;
    let json_body = |body: Value| ("application/json", body.to_string().into_bytes());
    let schema = corten_schema::table().meta("DeleteOptions").unwrap();
    let protobuf = |api_version: &str| {
        let text = json!({"kind": "DeleteOptions", "apiVersion": api_version, "propagationPolicy": "Orphan"}).to_string();
        let options = corten_schema::json::decode(&schema, text.as_bytes(), corten_schema::Strictness::Strict).unwrap();
        ("application/vnd.kubernetes.protobuf", corten_schema::proto::encode(&schema, &options.value))
    };
    let forms = [
        json_body(json!({"propagationPolicy": "Orphan"})),
        json_body(json!({"kind": "DeleteOptions", "apiVersion": "apps/v1", "propagationPolicy": "Orphan"})),
        json_body(json!({"orphanDependents": true})),
        ("application/yaml", b"kind: DeleteOptions\napiVersion: policy/v1\npropagationPolicy: Orphan\n".to_vec()),
        protobuf("v1"),
        protobuf("apps/v1"),
    ];
    for (media_type, body) in forms {
        let made = api.post(CONFIG_MAPS, json!({"metadata": {"generateName": "x-"}})).send().await.json();
        let path = format!("{CONFIG_MAPS}/{}", made["metadata"]["name"].as_str().unwrap());
        let answer = api.delete(&path).body(media_type, body).send().await;
        assert_eq!(answer.code, StatusCode::OK, "{media_type}: {}", answer.text());
        assert_eq!(answer.json()["metadata"]["finalizers"], json!(["orphan"]), "{media_type}");
    }
    api.created(CONFIG_MAPS, config_map("stays")).await;
    let path = format!("{CONFIG_MAPS}/stays");
    for (media_type, body, code) in [
        ("application/json", "{", 400),
        ("application/json", r#"{"kind": "Pod"}"#, 400),
        ("application/json", r#"{"gracePeriodSeconds": "x"}"#, 400),
        ("application/json", r#"{"propagationPolicy": "Background", "orphanDependents": true}"#, 422),
        ("application/json", r#"{"dryRun": ["Some"]}"#, 422),
        ("application/json", r#"{"preconditions": {"uid": "other"}}"#, 409),
        ("application/json", r#"{"preconditions": {"resourceVersion": "1"}}"#, 409),
        ("text/plain", "{}", 415),
        ("application/vnd.kubernetes.protobuf", "{}", 400),
    ] {
        api.call(Method::DELETE, &path).body(media_type, body).fails(code).await;
    }
    api.get(&path).ok().await;
}

#[tokio::test]
async fn collections_are_deleted_by_page_selector_and_with_options() {
    let api = Api::start().await;
    for name in ["a", "b", "c", "d"] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"app": "x", "name": name});
        api.created(CONFIG_MAPS, object).await;
    }
    let list = api.delete(&format!("{CONFIG_MAPS}?labelSelector=app%3Dx&limit=2&dryRun=All")).ok().await;
    assert_eq!(names(&list), ["a", "b"]);
    let list = api.delete(&format!("{CONFIG_MAPS}?labelSelector=app%3Dx&limit=2")).ok().await;
    assert_eq!((&list["kind"], names(&list)), (&json!("ConfigMapList"), vec!["a", "b"]));
    // Options are in the body, what is selected is in the query.
    let list =
        api.delete(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dd")).json(json!({"propagationPolicy": "Orphan"})).ok().await;
    assert_eq!(list["items"][0]["metadata"]["finalizers"], json!(["orphan"]));
    let accept = "application/vnd.kubernetes.protobuf";
    let answer = api.delete(&format!("{CONFIG_MAPS}?labelSelector=name%3Dc")).header("accept", accept).send().await;
    assert_eq!((answer.header("content-type"), &answer.bytes[..4]), (accept, &b"k8s\0"[..]));
    assert!(answer.text().contains("ConfigMapList"));
    api.get(&format!("{CONFIG_MAPS}/c")).fails(404).await;
}

#[tokio::test]
async fn a_name_that_cannot_be_generated_is_told_with_a_retry() {
    let api = Api::start().await;
    // A name of its own wins over the wish for a generated one; who wanted one is told to try again.
    let both = json!({"metadata": {"name": "taken", "generateName": "taken-"}});
    api.created(CONFIG_MAPS, both).await;
    let long = json!({"metadata": {"generateName": format!("{}-", "x".repeat(80))}});
    let made = api.created(CONFIG_MAPS, long).await;
    assert_eq!(made["metadata"]["name"].as_str().unwrap().len(), 63, "cut so that the whole is a label");
}

#[tokio::test]
async fn heads_and_other_methods() {
    let api = Api::start().await;
    // The reference's API has routes for GET, not for HEAD; what is beside it answers both.
    for path in ["/version", "/api", "/api/v1", "/apis", CONFIG_MAPS, &format!("{CONFIG_MAPS}/any"), &format!("{CONFIG_MAPS}?watch=1")] {
        assert_eq!(api.call(Method::HEAD, path).fails(405).await["reason"], "MethodNotAllowed", "{path}");
    }
    for path in ["/healthz", "/readyz/ping", "/metrics", "/openapi/v2", "/openapi/v3"] {
        assert_eq!(api.call(Method::HEAD, path).send().await.code, StatusCode::OK, "{path}");
    }
    for path in ["/healthz", "/version", "/api", "/openapi/v3"] {
        assert_eq!(api.post(path, json!({})).fails(405).await["reason"], "MethodNotAllowed", "{path}");
    }
    for method in [Method::OPTIONS, Method::TRACE] {
        assert_eq!(api.call(method, CONFIG_MAPS).fails(405).await["reason"], "MethodNotAllowed");
    }
}
