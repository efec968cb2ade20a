//! What counts as credentials.

use http::{HeaderMap, header};

use super::{bearer, bootstrap_token};

#[test]
fn a_bearer_token_is_what_follows_the_word() {
    let found = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, header::HeaderValue::from_static(value));
        bearer(&headers).map(str::to_owned)
    };
    assert_eq!(found("Bearer abc"), Some("abc".to_owned()));
    assert_eq!(found("bearer  abc "), Some("abc".to_owned()));
    for none in ["Basic YTpi", "Bearer", "Bearer ", ""] {
        assert_eq!(found(none), None, "{none:?}");
    }
    assert_eq!(bearer(&HeaderMap::new()), None);
}

#[test]
fn bootstrap_tokens_have_a_strict_form() {
    for (text, expected) in [
        ("abcdef.0123456789abcdef", true),
        ("abcdef.0123456789abcde", false),
        ("Abcdef.0123456789abcdef", false),
        ("abcdef-0123456789abcdef", false),
        ("a.b.c", false),
    ] {
        assert_eq!(bootstrap_token::parse(text).is_some(), expected, "{text}");
    }
}
