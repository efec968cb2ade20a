use super::*;

fn json(error: &ApiError) -> serde_json::Value {
    serde_json::from_slice(&error.to_json()).unwrap()
}

#[test]
fn words_and_details_are_the_references() {
    let deployments = GroupResource::new("apps", "deployments");
    let pods = GroupResource::new("", "pods");
    assert_eq!(
        json(&ApiError::not_found(&deployments, "x")),
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "deployments.apps \"x\" not found", "reason": "NotFound",
            "details": {"name": "x", "group": "apps", "kind": "deployments"}, "code": 404
        })
    );
    assert_eq!(ApiError::already_exists(&pods, "x").message, "pods \"x\" already exists");
    assert_eq!(
        ApiError::modified(&pods, "x").message,
        "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your changes to the \
         latest version and try again"
    );
    assert_eq!(ApiError::forbidden(&pods, "", "no").message, "pods is forbidden: no");
    assert_eq!(ApiError::too_large(3 << 20).message, "Request entity too large: limit is 3145728");
}

#[test]
fn invalid_lists_each_field_once_and_as_cause() {
    let error = ApiError::invalid(
        "apps",
        "Deployment",
        "x",
        vec![
            FieldError::required("spec.selector", ""),
            FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0"),
            FieldError::not_supported("spec.strategy.type", "Y", &["Recreate", "RollingUpdate"]),
        ],
    );
    assert_eq!(
        error.message,
        "Deployment.apps \"x\" is invalid: [spec.selector: Required value, spec.replicas: Invalid value: -1: must be \
         greater than or equal to 0, spec.strategy.type: Unsupported value: \"Y\": supported values: \"Recreate\", \
         \"RollingUpdate\"]"
    );
    let causes = json(&error)["details"]["causes"].clone();
    assert_eq!(causes[0], serde_json::json!({"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"}));
    assert_eq!(causes[2]["reason"], "FieldValueNotSupported");
}

#[test]
fn errors_are_told_up_to_a_number() {
    let errors = (0..1500).map(|number| FieldError::required(format!("spec.list[{number}]"), "")).collect();
    let error = ApiError::invalid("", "Pod", "x", errors);
    assert!(error.message.ends_with(", spec.list[999]: Required value, and 500 more errors]"), "{}", error.message);
    assert_eq!(json(&error)["details"]["causes"].as_array().unwrap().len(), 1000);
}
