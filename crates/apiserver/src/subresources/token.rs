//! `serviceaccounts/token`: tokens bound to pods, secrets or nodes, and to an audience.

use corten_pki::{Claims, KubernetesClaims, ObjectClaim};
use corten_schema::Value;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::exchange::Exchange;
use crate::admission::{Attributes, Operation};
use crate::body::Response;
use crate::engine;
use crate::reads;
use crate::request::Call;
use crate::status::{ApiError, FieldError, GroupResource};
use crate::time::{now, timestamp};
use crate::view::{at, int, text, texts};

const AUTHENTICATION: &str = "authentication.k8s.io";

/// Seconds that a token is valid for when nobody asks for a time.
const DEFAULT_SECONDS: i64 = 3600;
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

/// The time that the ServiceAccount plugin asks for. Tokens of that kind live a year while their pod does, because some clients read their file
/// once; use after the time asked for is noted in the claim `warnafter`.
const RENEWED_SECONDS: i64 = 3607;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// Handles `serviceaccounts/token`.
pub(super) async fn serve(call: Call) -> Result<Response, ApiError> {
    let exchange = Exchange::new(call)?;
    exchange.must_create()?;
    let options = exchange.options("CreateOptions")?;
    let mut request = exchange.object(options).await?;
    if !["", exchange.name()].contains(&request.name()) {
        let error = FieldError::invalid("metadata.name", request.name(), "must match the service account name if specified");
        return Err(ApiError::invalid(AUTHENTICATION, "TokenRequest", exchange.name(), vec![error]));
    }
    let account = exchange.parent()?;
    if !["", account.uid()].contains(&request.uid()) {
        let why =
            format!("the UID in the token request ({}) does not match the UID of the service account ({})", request.uid(), account.uid());
        return Err(ApiError::conflict(&GroupResource::new(AUTHENTICATION, "TokenRequest"), exchange.name(), why));
    }
    let own = exchange.server.authenticator.audiences().to_vec();
    let mut audiences: Vec<String> = texts(&request, "spec.audiences").map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.clone_from(&own);
        request.set_at(&["spec", "audiences"], audiences.clone());
    }
    let asked = int(&request, "spec.expirationSeconds").unwrap_or(DEFAULT_SECONDS);
    request.set_at(&["spec", "expirationSeconds"], asked);
    check_time(asked)?;
    admit(&exchange, &mut request)?;

    let begin = Timestamp::now();
    let mut bound = bind(&exchange, &request, &account)?;
    let extended = asked == RENEWED_SECONDS && audiences == own && bound.pod.is_some();
    let seconds = if extended { EXTENDED_SECONDS } else { asked };
    let after = |seconds: i64| begin.as_second().saturating_add(seconds);
    bound.warnafter = extended.then(|| after(asked));
    let claims = Claims {
        aud: audiences,
        exp: after(seconds),
        iat: begin.as_second(),
        iss: exchange.server.options.token_issuer.clone(),
        jti: Some(uuid::Uuid::new_v4().to_string()),
        kubernetes: Some(bound),
        nbf: begin.as_second(),
        sub: format!("system:serviceaccount:{}:{}", account.namespace(), account.name()),
    };
    let token = exchange.server.options.token_signer.sign(&claims).map_err(ApiError::internal)?;
    let expiration = begin.saturating_add(SignedDuration::from_secs(asked)).unwrap_or(Timestamp::MAX);
    request.set_at(&["status", "token"], token);
    request.set_at(&["status", "expirationTimestamp"], timestamp(expiration));
    let metadata = request.metadata_mut();
    metadata.insert("name", account.name());
    metadata.insert("namespace", account.namespace());
    metadata.insert("creationTimestamp", now());
    exchange.answer(StatusCode::CREATED, &request)
}

fn check_time(seconds: i64) -> Result<(), ApiError> {
    let words = match seconds {
        ..SHORTEST => "may not specify a duration less than 10 minutes",
        SHORTEST..=LONGEST => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid("spec.expirationSeconds", seconds, words);
    Err(ApiError::invalid(AUTHENTICATION, "TokenRequest", "", vec![error]))
}

fn admit(exchange: &Exchange, request: &mut Value) -> Result<(), ApiError> {
    let mut attributes = Attributes {
        server: &exchange.server,
        context: &exchange.context,
        operation: Operation::Create,
        resource: &exchange.kind.storage,
        subresource: "token",
        namespace: exchange.namespace(),
        name: exchange.name(),
        object: Some(request),
        old: None,
        dry_run: true,
        effects: Vec::new(),
    };
    engine::admit(&mut attributes)
}

fn claim(object: &Value) -> ObjectClaim {
    ObjectClaim { name: object.name().to_owned(), uid: object.uid().to_owned() }
}

/// The claims about the account and the object that the token is bound to.
fn bind(exchange: &Exchange, request: &Value, account: &Value) -> Result<KubernetesClaims, ApiError> {
    let mut bound =
        KubernetesClaims { namespace: account.namespace().to_owned(), serviceaccount: claim(account), ..KubernetesClaims::default() };
    let Some(reference) = at(request, "spec.boundObjectRef") else { return Ok(bound) };
    let (kind, name) = (text(reference, "kind"), text(reference, "name"));
    let (plural, namespace) = match kind {
        "Pod" => ("pods", account.namespace()),
        "Secret" => ("secrets", account.namespace()),
        "Node" => ("nodes", ""),
        _ => {
            let version = text(reference, "apiVersion");
            return Err(ApiError::bad_request(format!("cannot bind token to object of type /{version}, Kind={kind}")));
        }
    };
    let ledger = &exchange.server.ledger;
    let of = GroupResource::new("", plural);
    let object = reads::get(ledger, "", plural, namespace, name).ok_or_else(|| ApiError::not_found(&of, name))?;
    let uid = text(reference, "uid");
    if !uid.is_empty() && uid != object.uid() {
        let of = GroupResource::new("", kind);
        return Err(ApiError::conflict(
            &of,
            name,
            format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been \
                 deleted and then recreated"
            ),
        ));
    }
    match kind {
        "Pod" => {
            if text(&object, "spec.serviceAccountName") != account.name() {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    account.name()
                )));
            }
            let node = text(&object, "spec.nodeName");
            if !node.is_empty() {
                let found = reads::get(ledger, "", "nodes", "", node);
                let uid = found.map(|node| node.uid().to_owned()).unwrap_or_default();
                bound.node = Some(ObjectClaim { name: node.to_owned(), uid });
            }
            bound.pod = Some(claim(&object));
        }
        "Secret" => bound.secret = Some(claim(&object)),
        _ => bound.node = Some(claim(&object)),
    }
    Ok(bound)
}
