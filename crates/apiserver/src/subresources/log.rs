//! `pods/log`: what a container wrote, from its kubelet.

mod socket;

use corten_schema::Value;
use http::{HeaderValue, Request, StatusCode, header};

use super::connect::{Backend, check, container, encode, query};
use super::exchange::Exchange;
use super::proxy::headers;
use super::proxy::transport::{Destination, trusting};
use crate::body::{self, Response};
use crate::request::{Call, Query, Verb};
use crate::status::{ApiError, FieldError, GroupResource};
use crate::view::text;
use socket::Handshake;

/// The options that are the kubelet's to understand.
const OPTIONS: [&str; 8] = ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// What `stream` may be.
const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

/// Handles `pods/log`.
pub(super) async fn serve(mut call: Call) -> Result<Response, ApiError> {
    let (mut parts, _) = std::mem::replace(&mut call.request, Request::new(body::full(""))).into_parts();
    let exchange = Exchange::new(call)?;
    let verb = exchange.context.info.verb;
    if verb != Verb::Get {
        return Err(ApiError::method_not_supported(&exchange.kind.group_resource(), verb.as_str()));
    }
    let asked = &exchange.context.info.query;
    validate(asked, exchange.name())?;
    let pod = exchange.parent()?;
    let container = container(&pod, asked.get("container"))?;
    let node = text(&pod, "spec.nodeName");
    if node.is_empty() {
        // Nothing ran yet: nothing was written.
        let mut nothing = http::Response::new(body::full(""));
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    }
    let handshake = Handshake::asked(&mut parts)?;
    let path = kubelet_path(asked, &pod, container);
    let kubelet = Backend::kubelet(&exchange.server, node)?;
    let insecure = asked.flag("insecureSkipTLSVerifyBackend");
    let tls = kubelet.tls.map(|tls| if insecure { trusting(&tls) } else { tls });
    let destination = Destination { host: kubelet.host, port: kubelet.port, tls };
    let response = fetch(&destination, &path).await?;
    let of = GroupResource::new("", "pods/log");
    let response = check(response, &of, pod.name()).await?;
    Ok(match handshake {
        Some(handshake) => handshake.accept(response, exchange.server.ending.clone()),
        None => plain(response),
    })
}

fn kubelet_path(asked: &Query, pod: &Value, container: &str) -> String {
    let parameters: Vec<(&str, &str)> = OPTIONS.iter().filter_map(|name| Some((*name, asked.get(name)?))).collect();
    format!("/containerLogs/{}/{}/{}{}", encode(pod.namespace()), encode(pod.name()), encode(container), query(&parameters))
}

async fn fetch(kubelet: &Destination, path: &str) -> Result<Response, ApiError> {
    let mut request = Request::new(body::full(""));
    *request.uri_mut() = path.parse().map_err(ApiError::internal)?;
    let host = HeaderValue::try_from(kubelet.authority()).map_err(ApiError::internal)?;
    request.headers_mut().insert(header::HOST, host);
    let answer = kubelet.send(request).await.map_err(|error| {
        let words = format!("Get \"https://{}{path}\": {error}", kubelet.authority());
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "", words)
    })?;
    let (mut parts, body) = answer.into_parts();
    headers::incoming(&mut parts.headers);
    Ok(Response::from_parts(parts, body::boxed(body)))
}

fn plain(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn validate(asked: &Query, name: &str) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    let number = |name: &str| {
        let parse = |value: &str| value.parse::<i64>();
        let wrong = |value: &str| ApiError::bad_request(format!("strconv.ParseInt: parsing {value:?}: invalid syntax"));
        asked.get(name).map(|value| parse(value).map_err(|_| wrong(value))).transpose()
    };
    let (tail, limit, since) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
    if let Some(lines) = tail.filter(|lines| *lines < 0) {
        errors.push(FieldError::invalid("tailLines", lines, "must be greater than or equal to 0"));
    }
    if let Some(bytes) = limit.filter(|bytes| *bytes < 1) {
        errors.push(FieldError::invalid("limitBytes", bytes, "must be greater than 0"));
    }
    match (since, asked.get("sinceTime")) {
        (Some(_), Some(_)) => errors.push(FieldError::forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified")),
        (Some(seconds), None) if seconds < 1 => errors.push(FieldError::invalid("sinceSeconds", seconds, "must be greater than 0")),
        (None, Some(time)) if time.parse::<jiff::Timestamp>().is_err() => {
            return Err(ApiError::bad_request(format!("parsing time {time:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {time:?}")));
        }
        _ => {}
    }
    if let Some(stream) = asked.get("stream") {
        if !STREAMS.contains(&stream) {
            errors.push(FieldError::not_supported("stream", stream, &STREAMS));
        } else if stream != "All" && tail.is_some() {
            errors.push(FieldError::forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("", "PodLogOptions", name, errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(query: &str) -> Result<(), (u16, String)> {
        validate(&Query::parse(query), "web").map_err(|error| (error.code.as_u16(), error.message))
    }

    #[test]
    fn options_are_checked_in_the_references_words() {
        let fine =
            ["", "tailLines=0", "limitBytes=1&sinceSeconds=1", "stream=All&tailLines=1", "stream=Stdout", "sinceTime=2026-01-01T00:00:00Z"];
        for query in fine {
            assert_eq!(words(query), Ok(()), "{query}");
        }
        let invalid = |rest: &str| Err((422, format!("PodLogOptions \"web\" is invalid: {rest}")));
        assert_eq!(words("tailLines=-1"), invalid("tailLines: Invalid value: -1: must be greater than or equal to 0"));
        assert_eq!(words("limitBytes=0"), invalid("limitBytes: Invalid value: 0: must be greater than 0"));
        assert_eq!(words("sinceSeconds=0"), invalid("sinceSeconds: Invalid value: 0: must be greater than 0"));
        let both = "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z";
        assert!(words(both).unwrap_err().1.contains("Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"));
        let supported = "stream: Unsupported value: \"stdout\": supported values: \"All\", \"Stderr\", \"Stdout\"";
        assert_eq!(words("stream=stdout"), invalid(supported));
        assert!(words("stream=Stderr&tailLines=1").unwrap_err().1.contains("`tailLines` and specific `stream` are mutually exclusive"));
        for query in ["tailLines=x", "limitBytes=1.5", "sinceSeconds=soon", "sinceTime=yesterday"] {
            assert_eq!(words(query).unwrap_err().0, 400, "{query}");
        }
    }
}
