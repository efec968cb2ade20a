use std::fs;

use super::complaint;

#[test]
fn what_went_wrong_is_found_in_every_programs_log() {
    let log = std::env::temp_dir().join(format!("corten-complaint-{}", std::process::id()));
    for (text, expected) in [
        (
            r#"{"level":"warning","msg":"odd"}
{"level":"error","msg":"no such program","time":"2026-01-01T00:00:00Z"}"#,
            "no such program",
        ),
        (r#"{"msg":"no such program"}"#, "no such program"),
        (
            r#"{"level":"DEBUG","message":"made"}
{"level":"ERROR","message":"first"}
{"level":"ERROR","message":"no such program\n\nStack backtrace:\n 0: main"}"#,
            "no such program",
        ),
        ("not JSON", "what it wrote"),
        ("", "what it wrote"),
    ] {
        fs::write(&log, text).unwrap();
        assert_eq!(complaint(&log, b"what it wrote\n"), expected, "{text}");
    }
    fs::remove_file(&log).unwrap();
}
