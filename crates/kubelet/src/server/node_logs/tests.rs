use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use http::{HeaderValue, header};
use http_body_util::BodyExt as _;

use super::*;

struct Node {
    _dir: tempfile::TempDir,
    logs: NodeLogs,
}

fn node() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("log");
    fs::create_dir_all(root.join("apt")).unwrap();
    fs::create_dir_all(root.join("web/deep")).unwrap();
    fs::write(root.join("syslog.log"), "one\ntwo\n").unwrap();
    fs::write(root.join("wtmp"), b"\0\x01\xff").unwrap();
    fs::write(root.join("a b&<.txt"), "odd").unwrap();
    fs::write(root.join("web/web.log"), "of web\n").unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    symlink(dir.path().join("secret"), root.join("out")).unwrap();
    symlink("../secret", root.join("apt/out")).unwrap();
    symlink(root.join("syslog.log"), root.join("apt/in")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    // Knows two units: of one it says what it was asked, the other has written without end.
    let journalctl = dir.path().join("journalctl");
    let script = "#!/bin/sh\nif [ \"$1\" = --field ]; then echo corten.service; echo endless.service; exit; fi\n\
                  case \"$*\" in *--unit=endless*) exec yes;; esac\n\
                  for word; do echo \"$word\"; done; echo oops >&2\n";
    fs::write(&journalctl, script).unwrap();
    fs::set_permissions(&journalctl, fs::Permissions::from_mode(0o755)).unwrap();
    Node { _dir: dir, logs: NodeLogs { root, files: true, queries: true, journalctl, patience: PATIENCE } }
}

impl Node {
    async fn get(&self, path: &str, query: &str) -> (u16, String) {
        let (status, _, text) = self.ask(path, query, &[]).await;
        (status, text)
    }

    async fn ask(&self, path: &str, query: &str, headers: &[(header::HeaderName, &'static str)]) -> (u16, HeaderMap, String) {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let answer = self.logs.serve(path, &headers, &Query::parse(query)).await.unwrap_or_else(Answer::from);
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[tokio::test]
async fn directories_are_listed_and_files_sent() {
    let node = node();
    let (status, headers, html) = node.ask("/", "", &[]).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    for link in ["<a href=\"apt/\">apt/</a>", "<a href=\"syslog.log\">", "<a href=\"a%20b%26%3C.txt\">a b&amp;&lt;.txt</a>"] {
        assert!(html.contains(link), "{html}");
    }
    assert_eq!(node.get("/a%20b%26%3C.txt", "").await, (200, "odd".to_owned()));
    let (status, headers, text) = node.ask("/syslog.log", "", &[]).await;
    assert_eq!((status, text.as_str(), headers["content-length"].to_str().unwrap()), (200, "one\ntwo\n", "8"));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(node.ask("/wtmp", "", &[]).await.1["content-type"], "application/octet-stream");
    let (status, headers, text) = node.ask("/syslog.log", "", &[(header::RANGE, "bytes=-4")]).await;
    assert_eq!((status, text.as_str(), headers["content-range"].to_str().unwrap()), (206, "two\n", "bytes 4-7/8"));
    assert_eq!(node.ask("/syslog.log", "", &[(header::RANGE, "bytes=8-")]).await.0, 416);
    for (path, to) in [("", "logs/"), ("/apt", "apt/"), ("/syslog.log/", "../syslog.log")] {
        let (status, headers, _) = node.ask(path, "", &[]).await;
        assert_eq!((status, headers["location"].to_str().unwrap()), (301, to), "{path}");
    }
    assert_eq!(node.get("/apt/in", "").await, (200, "one\ntwo\n".to_owned()), "a link that stays inside");
}

#[tokio::test]
async fn nothing_outside_is_reached() {
    let node = node();
    let outside =
        ["/out", "/apt/out", "/../secret", "/%2e%2e/secret", "/apt/..%2f..%2fsecret", "/nothing", "/a%zz", "/syslog.log/x", "/a%00b"];
    for path in outside {
        assert_eq!(node.get(path, "").await, (404, "404 page not found\n".to_owned()), "{path}");
    }
    assert_eq!(node.get("/pipe", "").await.0, 403);
    for file in ["/out", "../secret", "/../secret", "apt/../../secret", "..\\secret"] {
        let (status, words) = node.get("/", &form_urlencoded::Serializer::new(String::new()).append_pair("query", file).finish()).await;
        assert_eq!(status, 406, "{file}: {words}");
    }
}

#[tokio::test]
async fn services_are_queried() {
    let node = node();
    let asked = "query=corten&sinceTime=2026-01-01T01:00:00%2B01:00&untilTime=2026-01-02T00:00:00Z&tailLines=5&boot=-1&pattern=a.*b";
    let expected = "--utc\n--no-pager\n--output=short-precise\n--since=2026-01-01 00:00:00 UTC\n--until=2026-01-02 00:00:00 UTC\n\
                    --pager-end\n--lines=5\n--unit=corten\n--grep=a.*b\n--boot=-1\noops\n";
    assert_eq!(node.get("/", asked).await, (200, expected.to_owned()));
    // What the journal does not know is looked for among the files.
    assert_eq!(node.get("/", "query=web").await, (200, "of web\n".to_owned()));
    assert_eq!(node.get("/", "query=syslog&query=none").await, (200, "one\ntwo\n\nlog not found for none\n".to_owned()));
    let words = "\noptions present and query resolved to log files for [web]\ntry without specifying options\n";
    assert_eq!(node.get("/", "query=web&tailLines=1").await, (200, words.to_owned()));
    assert_eq!(node.get("/", "query=/web/web.log").await, (200, "of web\n".to_owned()));
}

#[tokio::test]
async fn who_reads_too_late_learns_that_the_rest_is_missing() {
    let mut node = node();
    node.logs.patience = Duration::from_millis(200);
    let answer = node.logs.serve("/", &HeaderMap::new(), &Query::parse("query=endless")).await.unwrap_or_else(Answer::from);
    // Nothing but time tells that it has passed; a reader who is early after all is left without the rest too.
    tokio::time::sleep(2 * node.logs.patience).await;
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    let end = "\nerror: the query took too long, the rest is missing\n";
    assert!(bytes.ends_with(end.as_bytes()), "{} bytes that end otherwise", bytes.len());
}

#[tokio::test]
async fn nonsense_is_refused() {
    let node = node();
    for (query, status, words) in [
        ("query=", 400, "query: Invalid value: [\"\"]: query cannot be empty\n"),
        ("query=a&sinceTime=now", 400, "sinceTime: Invalid value: \"now\": invalid time format\n"),
        ("query=a&boot=x", 400, "boot: Invalid value: \"x\": strconv.Atoi: parsing \"x\": invalid syntax\n"),
        ("tailLines=1", 406, "query: Required value: cannot be empty with options\n"),
        ("query=a&boot=1", 406, "boot: Invalid value: 1: must be less than 1\n"),
        ("query=a&tailLines=-1", 406, "tailLines: Invalid value: -1: must be between 0 and 100000, inclusive\n"),
        ("query=a;b", 406, "query: Invalid value: \"a;b\": input contains unsupported characters\n"),
        ("query=/syslog.log&tailLines=1", 406, "query: Invalid value: [\"/syslog.log\"]: cannot specify file with options\n"),
        ("query=/a&query=/b", 406, "query: Invalid value: [\"/a\", \"/b\"]: cannot specify more than one file\n"),
        ("query=a&query=b&query=c&query=d&query=e", 406, "query: Too many: 5: must have at most 4 items\n"),
        (
            "query=a&sinceTime=2026-01-02T00:00:00Z&untilTime=2026-01-01T00:00:00Z",
            406,
            "untilTime: Invalid value: \"2026-01-01T00:00:00Z\": must be after `sinceTime`\n",
        ),
    ] {
        assert_eq!(node.get("/", query).await, (status, words.to_owned()), "{query}");
    }
    assert_eq!(node.get("/", "query=a&pattern=(").await.0, 406);
    assert_eq!(node.get("/apt", "query=a").await, (406, "path not allowed in query mode\n".to_owned()));
}

#[tokio::test]
async fn they_may_be_turned_off() {
    let mut node = node();
    node.logs.queries = false;
    // Without queries the parameters mean nothing.
    assert_eq!(node.get("/syslog.log", "query=web").await, (200, "one\ntwo\n".to_owned()));
    node.logs.files = false;
    assert_eq!(node.get("/syslog.log", "").await, (405, "logs endpoint is disabled.\n".to_owned()));
}
