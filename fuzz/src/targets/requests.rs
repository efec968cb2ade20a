//! What stands in a request's query.

pub use corten_apiserver::fuzzing::{continue_token, selectors};

/// Words of selectors.
pub const SELECTOR_WORDS: &[&str] =
    &["in", " notin ", "(a,b)", "!", "!=", "==", ">", "<9223372036854775808", ",", "a.b/c", "metadata.name", "spec.nodeName=", "\\,", "é"];
