//! Reviews: who am I, may I, may they, is this token good? Answered at once, never stored.

mod validate;

use corten_schema::{Map, Value, json, value};
use http::StatusCode;

use super::exchange::Exchange;
use crate::authn::UserInfo;
use crate::authz::{Attributes, Decision};
use crate::body::Response;
use crate::engine::WriteOptions;
use crate::request::Call;
use crate::status::ApiError;
use crate::time::now;
use crate::view::{at, entries, text, texts};

const AUTHORIZATION: &str = "authorization.k8s.io";

/// Handles the kinds of `authorization.k8s.io`.
pub(super) async fn access(call: Call) -> Result<Response, ApiError> {
    let exchange = Exchange::new(call)?;
    exchange.must_create()?;
    let options = exchange.options("CreateOptions")?;
    let mut review = question(&exchange, options).await?;
    let kind = exchange.kind.served.kind.clone();
    if kind == "SelfSubjectRulesReview" {
        let status = rules(&exchange, &review)?;
        review.insert("status", status);
        return exchange.answer(StatusCode::CREATED, &review);
    }
    let errors = validate::review(&exchange, &kind, &review);
    if !errors.is_empty() {
        return Err(ApiError::invalid(AUTHORIZATION, &kind, "", errors));
    }
    let user = match kind.as_str() {
        "SelfSubjectAccessReview" => exchange.context.user.clone(),
        _ => subject(&review),
    };
    let decision = exchange.server.authorizer.authorize(&wanted(&review, &user));
    let mut status = value!({"allowed": (matches!(decision, Decision::Allow(_)))});
    if !decision.reason().is_empty() {
        status.insert("reason", decision.reason());
    }
    let ignored = validate::ignored(&review);
    if !ignored.is_empty() {
        status.insert("evaluationError", ignored);
    }
    review.insert("status", status);
    exchange.answer(StatusCode::CREATED, &review)
}

/// A review, without what a client cannot say of an object.
async fn question(exchange: &Exchange, options: WriteOptions) -> Result<Value, ApiError> {
    let mut review = exchange.object(options).await?;
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        review.metadata_mut().remove(field);
    }
    Ok(review)
}

/// The user that a review asks about.
fn subject(review: &Value) -> UserInfo {
    UserInfo {
        name: text(review, "spec.user").to_owned(),
        uid: text(review, "spec.uid").to_owned(),
        groups: texts(review, "spec.groups").map(str::to_owned).collect(),
        extra: entries(review, "spec.extra")
            .map(|(key, values)| {
                let values = values.as_list().unwrap_or_default().iter().filter_map(Value::as_str);
                (key.to_owned(), values.map(str::to_owned).collect())
            })
            .collect(),
    }
}

/// The request that a review asks about.
fn wanted<'a>(review: &'a Value, user: &'a UserInfo) -> Attributes<'a> {
    if let Some(attributes) = at(review, "spec.resourceAttributes") {
        Attributes {
            subresource: text(attributes, "subresource"),
            namespace: text(attributes, "namespace"),
            name: text(attributes, "name"),
            ..Attributes::resource(user, text(attributes, "verb"), text(attributes, "group"), text(attributes, "resource"))
        }
    } else {
        let attributes = "spec.nonResourceAttributes";
        let (verb, path) = (at(review, attributes).map_or("", |a| text(a, "verb")), at(review, attributes));
        Attributes::path(user, verb, path.map_or("", |a| text(a, "path")))
    }
}

/// What the user may do in a namespace.
fn rules(exchange: &Exchange, review: &Value) -> Result<Value, ApiError> {
    let namespace = text(review, "spec.namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let rules = exchange.server.authorizer.rules_for(&exchange.context.user, namespace);
    let (mut resource, mut path) = (Vec::new(), Vec::new());
    for rule in &rules {
        let rule_json = serde_json::to_vec(rule).map_err(ApiError::internal)?;
        let rule_value = json::decode_untyped(&rule_json).map_err(ApiError::internal)?;
        if rule.non_resource_urls.is_empty() { resource.push(rule_value) } else { path.push(rule_value) }
    }
    let mut status = Value::map();
    status.insert("resourceRules", resource);
    status.insert("nonResourceRules", path);
    status.insert("incomplete", false);
    Ok(status)
}

/// Handles the kinds of `authentication.k8s.io`.
pub(super) async fn authentication(call: Call) -> Result<Response, ApiError> {
    let exchange = Exchange::new(call)?;
    exchange.must_create()?;
    let options = exchange.options("CreateOptions")?;
    let mut review = question(&exchange, options).await?;
    let status = match exchange.kind.served.kind.as_str() {
        "TokenReview" => token(&exchange, &review)?,
        _ => {
            let mut metadata = Value::map();
            metadata.insert("creationTimestamp", now());
            review.insert("metadata", metadata);
            let mut status = Value::map();
            status.insert("userInfo", user_value(&exchange.context.user));
            status
        }
    };
    review.insert("status", status);
    exchange.answer(StatusCode::CREATED, &review)
}

fn token(exchange: &Exchange, review: &Value) -> Result<Value, ApiError> {
    let token = text(review, "spec.token");
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let authenticator = &exchange.server.authenticator;
    let asked: Vec<String> = texts(review, "spec.audiences").map(str::to_owned).collect();
    let audiences = if asked.is_empty() { authenticator.audiences() } else { &asked };
    Ok(match authenticator.token_user(token, audiences) {
        Ok((user, accepted)) => {
            let mut status = value!({"authenticated": true});
            status.insert("user", user_value(&user));
            status.insert("audiences", accepted);
            status
        }
        Err(reason) => {
            let mut status = value!({"user": {}});
            status.insert("error", format!("[invalid bearer token, {reason}]"));
            status
        }
    })
}

fn user_value(user: &UserInfo) -> Value {
    let mut value = value!({"username": (user.name.as_str())});
    if !user.uid.is_empty() {
        value.insert("uid", user.uid.as_str());
    }
    value.insert("groups", user.groups.clone());
    if !user.extra.is_empty() {
        let extra: Map = user.extra.iter().map(|(key, values)| (key.as_str(), values.clone())).collect();
        value.insert("extra", extra);
    }
    value
}
