//! Times as objects carry them: RFC 3339, whole seconds, UTC.

use std::cell::RefCell;

use corten_schema::Str;

/// The present.
pub(crate) fn now() -> Str {
    thread_local!(static LAST: RefCell<(i64, Str)> = const { RefCell::new((i64::MIN, Str::from_static(""))) });
    let now = jiff::Timestamp::now();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now.as_second() {
            (*second, *text) = (now.as_second(), timestamp(now));
        }
        text.clone()
    })
}

/// A point in time.
pub(crate) fn timestamp(at: jiff::Timestamp) -> Str {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}
