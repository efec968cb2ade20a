//! JSON that is kept as it is.

use super::{Str, Value};
use crate::apply::Owners;

/// JSON that hardly anybody looks into.
#[derive(Clone, Debug)]
pub enum Json {
    /// The text.
    Text(Str),
    /// The owners of an object's fields, whose text is put together when it is written.
    Owners(Owners),
}

impl Json {
    /// The text.
    pub fn text(&self) -> Str {
        match self {
            Self::Text(text) => text.clone(),
            Self::Owners(owners) => owners.text(),
        }
    }

    /// How long the text is.
    pub fn text_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Owners(owners) => owners.text_len(),
        }
    }

    /// Appends the text.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Owners(owners) => owners.write(|part| out.extend_from_slice(part.as_bytes())),
        }
    }
}

/// Whether the texts are the same.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Owners(a), Self::Owners(b)) => a == b,
            (a, b) => a.text_len() == b.text_len() && a.text() == b.text(),
        }
    }
}

impl From<Owners> for Value {
    fn from(owners: Owners) -> Self {
        Self::Json(Json::Owners(owners))
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<Str> for Json {
    fn from(text: Str) -> Self {
        Self::Text(text)
    }
}
