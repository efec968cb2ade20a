//! Content negotiation: what a client sends and what it wants to be sent.

use http::{HeaderMap, header};

use crate::status::ApiError;

/// How an answer is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Encoding {
    /// The media type of single answers.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// In which form objects are wanted (`as=` of the media type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum View {
    /// As they are.
    Object,
    /// `meta.k8s.io/v1` `Table`.
    Table,
    /// `meta.k8s.io/v1` `PartialObjectMetadata`, or its list.
    Metadata,
}

/// What can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Objects of a kind: all encodings, all forms.
    Objects,
    /// Documents that are JSON by nature: JSON and YAML.
    Documents,
}

/// What a client accepts, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Accepted {
    /// The encoding.
    pub(crate) encoding: Encoding,
    /// The form.
    pub(crate) view: View,
    /// Indented JSON is wanted.
    pub(crate) pretty: bool,
    /// A large answer may be compressed.
    pub(crate) gzip: bool,
}

impl Accepted {
    /// JSON as it is.
    pub(crate) const JSON: Self = Self { encoding: Encoding::Json, view: View::Object, pretty: false, gzip: false };

    /// Decides by the `Accept` header.
    ///
    /// # Errors
    ///
    /// 406 when nothing that is accepted can be served.
    pub(crate) fn decide(headers: &HeaderMap, offer: Offer) -> Result<Self, ApiError> {
        let gzip = headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|one| one.trim().split(';').next() == Some("gzip"));
        let accept: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let accept = accept.join(",");
        if accept.trim().is_empty() {
            return Ok(Self { gzip, ..Self::JSON });
        }
        let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        clauses
            .iter()
            .find_map(|clause| clause.accepted(offer))
            .map(|accepted| Self { gzip, ..accepted })
            .ok_or_else(|| ApiError::not_acceptable(offer.media_types()))
    }
}

/// The media types of objects, in the reference's order.
const SERVED: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

impl Offer {
    fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Objects => SERVED,
            Self::Documents => &["application/json", "application/yaml"],
        }
    }
}

/// One media range of an `Accept` header.
struct Clause<'a> {
    range: &'a str,
    quality: f32,
    form: Option<&'a str>,
    group: Option<&'a str>,
    version: Option<&'a str>,
    pretty: bool,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let range = parts.next().filter(|range| range.contains('/') || *range == "*")?;
        let mut clause = Self { range, quality: 1.0, form: None, group: None, version: None, pretty: false };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim() {
                "q" => clause.quality = value.trim().parse().unwrap_or(1.0),
                "as" => clause.form = Some(value.trim()),
                "g" => clause.group = Some(value.trim()),
                "v" => clause.version = Some(value.trim()),
                "pretty" => clause.pretty = value.trim() != "0",
                _ => {}
            }
        }
        Some(clause)
    }

    fn accepted(&self, offer: Offer) -> Option<Accepted> {
        let objects = offer == Offer::Objects;
        let encoding = match self.range {
            "application/json" | "application/*" | "*/*" | "*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" if objects => Encoding::Protobuf,
            _ => return None,
        };
        let ours = objects && self.group == Some("meta.k8s.io") && self.version == Some("v1");
        let view = match self.form {
            None => View::Object,
            // There is no protobuf of tables.
            Some("Table") if ours && encoding != Encoding::Protobuf => View::Table,
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") if ours => View::Metadata,
            Some(_) => return None,
        };
        Some(Accepted { encoding, view, pretty: self.pretty, gzip: false })
    }
}

/// The format of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// The reference's protobuf envelope.
    Protobuf,
}

/// The format of an object in a request's body, by its `Content-Type`; JSON without one.
///
/// # Errors
///
/// 415 for an unknown one.
pub(crate) fn body_format(headers: &HeaderMap) -> Result<BodyFormat, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(BodyFormat::Json) };
    match value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim() {
        "application/json" | "" | "*/*" => Ok(BodyFormat::Json),
        "application/yaml" => Ok(BodyFormat::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(BodyFormat::Protobuf),
        _ => Err(ApiError::unsupported_media_type(SERVED)),
    }
}
