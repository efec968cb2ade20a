//! Continue tokens: where the next page of a list begins, and at which revision.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use corten_store::Revision;
use serde::{Deserialize, Serialize};

use crate::status::ApiError;

/// A page's end. The token's text is opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The revision of the whole list; `None` to go on with whatever is there now.
    pub(super) revision: Option<Revision>,
    /// The last key that was listed, without the prefix of the list.
    pub(super) last: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: i64,
    start: String,
}

const VERSION: &str = "meta.k8s.io/v1";

impl Token {
    pub(super) fn encode(&self) -> String {
        let rv = self.revision.and_then(|revision| i64::try_from(revision.get()).ok()).unwrap_or(-1);
        let wire = Wire { v: VERSION.to_owned(), rv, start: format!("{}\0", self.last) };
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// # Errors
    ///
    /// 400 for a text that is no token.
    pub(super) fn decode(text: &str) -> Result<Self, ApiError> {
        let invalid = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| invalid(&error.to_string()))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        if wire.v != VERSION {
            return Err(invalid(&format!("server does not recognize this encoded version {:?}", wire.v)));
        }
        if wire.rv == 0 {
            return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        let last = wire.start.strip_suffix('\0').unwrap_or(&wire.start);
        if last.is_empty() || last.split('/').any(|part| part == "..") {
            return Err(invalid(&format!("{:?}", wire.start)));
        }
        Ok(Self { revision: u64::try_from(wire.rv).ok().map(Revision), last: last.to_owned() })
    }
}

/// Any bytes, as a token and as what a token's text encodes: refused with 400, or the same token again from its own text.
pub(crate) fn fuzz(data: &[u8]) {
    for text in [String::from_utf8_lossy(data).into_owned(), BASE64_URL_SAFE_NO_PAD.encode(data)] {
        match Token::decode(&text) {
            Ok(token) => assert_eq!(Token::decode(&token.encode()).ok(), Some(token)),
            Err(error) => assert_eq!(error.code, http::StatusCode::BAD_REQUEST, "{error:?}"),
        }
    }
}
