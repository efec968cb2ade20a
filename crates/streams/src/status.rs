//! The last word of a session, and the sizes of terminals.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A terminal's size as clients send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// The `Status` of a process that has ended.
#[must_use]
pub fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
    })
}

/// The `Status` of a session that failed by itself.
#[must_use]
pub fn internal_error(message: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {message}"),
        "reason": "InternalError",
        "details": { "causes": [{ "message": message }] },
        "code": 500,
    })
}

/// What protocols without a `Status` say: nothing of success.
#[must_use]
pub fn text(status: &Value) -> String {
    let field = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default();
    if field("status") == "Success" { String::new() } else { field("message").to_owned() }
}
