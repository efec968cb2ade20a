//! `/checkpoint`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

#[tokio::test]
async fn checkpoints_have_names_and_a_place() {
    let served = Served::start().await;
    let (status, text) = served.ask(Some(ADMINS), Method::POST, "/checkpoint/ns/web/nginx?timeout=x&timeout=7").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let [file] = &answer["items"].as_array().unwrap()[..] else { panic!("{answer}") };
    let file = Path::new(file.as_str().unwrap());
    let name = file.file_name().unwrap().to_str().unwrap();
    let time = name.strip_prefix("checkpoint-web_ns-nginx-").and_then(|rest| rest.strip_suffix(".tar")).unwrap();
    time.parse::<jiff::Timestamp>().unwrap();
    let directory = file.parent().unwrap();
    assert!(directory.ends_with("kubelet/checkpoints"));
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700, "what was in memory is nobody else's");
    let asked = served.runtime.checkpointed.lock().take().unwrap();
    assert_eq!((asked.container_id.as_str(), Path::new(&asked.location), asked.timeout), ("c1", file, 7));
    served.end().await;
}

#[tokio::test]
async fn checkpoints_that_cannot_be_say_why() {
    let served = Served::start().await;
    let cases = [
        ("/checkpoint/ns/other/nginx", StatusCode::NOT_FOUND, "pod does not exist"),
        ("/checkpoint/ns/web/other", StatusCode::NOT_FOUND, "container other does not exist"),
        ("/checkpoint/ns/web/nginx?timeout=x", StatusCode::NOT_FOUND, "cannot parse value of timeout parameter"),
        (
            "/checkpoint/ns/web/idle",
            StatusCode::INTERNAL_SERVER_ERROR,
            "checkpointing of ns/web/idle failed (container not found (\"idle\"))",
        ),
        (
            "/checkpoint/ns/web/nginx?timeout=13",
            StatusCode::INTERNAL_SERVER_ERROR,
            "checkpointing of ns/web/nginx failed (the disk is full)",
        ),
        (
            "/checkpoint/ns/web/nginx?timeout=14",
            StatusCode::INTERNAL_SERVER_ERROR,
            "checkpointing of ns/web/nginx failed (there is no criu)",
        ),
    ];
    for (path, status, words) in cases {
        assert_eq!(served.ask(Some(ADMINS), Method::POST, path).await, (status, words.to_owned()), "{path}");
    }
    assert_eq!(served.get("/checkpoint/ns/web/nginx").await.0, StatusCode::METHOD_NOT_ALLOWED);
    served.end().await;
}
