//! Files and directories of logs, and nothing outside of them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc::Sender;

use super::super::answer::{Answer, Refusal, text, whole};
use super::say;

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// Most entries of a directory that are listed.
const ENTRIES: usize = 100_000;

/// Opens what is at a path below `root`. Links may lead about in it, never out of it.
pub(super) fn find(root: &Path, path: &str) -> io::Result<File> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let relative: PathBuf = path.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).collect();
    if path.contains('\0') || relative.components().any(|part| !matches!(part, std::path::Component::Normal(_))) {
        return Err(gone());
    }
    let root = fs::canonicalize(root)?;
    let real = fs::canonicalize(root.join(relative))?;
    let inside = real.strip_prefix(&root).map_err(|_| gone())?;
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    let directory: OwnedFd = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // What has changed since it was looked up leads nowhere; a pipe does not hold up anybody.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = openat2(directory, inside, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)?;
    let file = File::from(file);
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() { Ok(file) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// Answers with a file, or with the list of a directory. `path` is as it was sent.
pub(super) async fn serve(root: &Path, path: &str, headers: &HeaderMap) -> Result<Answer, Refusal> {
    if path.is_empty() {
        return Ok(redirect("logs/"));
    }
    let missing = || Refusal::not_found("404 page not found\n");
    let decoded = decode(path).ok_or_else(missing)?;
    let (root, wanted) = (root.to_owned(), decoded.clone());
    let found = tokio::task::spawn_blocking(move || -> io::Result<_> {
        let file = find(&root, &wanted)?;
        let metadata = file.metadata()?;
        let listed = if metadata.is_dir() { Some(list(&file)?) } else { None };
        Ok((file, metadata, listed))
    });
    let found = found.await.map_err(|error| Refusal::internal(error.to_string()))?;
    let (file, metadata, listed) = found.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(),
        io::ErrorKind::PermissionDenied => Refusal::new(StatusCode::FORBIDDEN, "403 Forbidden\n"),
        _ => Refusal::internal("500 Internal Server Error\n"),
    })?;
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match listed {
        Some(names) if path.ends_with('/') => Ok(page(&names)),
        Some(_) => Ok(redirect(&format!("{last}/"))),
        None if path.ends_with('/') => Ok(redirect(&format!("../{last}"))),
        None => content(tokio::fs::File::from_std(file), metadata.len(), headers).await,
    }
}

/// Links are relative: whoever proxies this need not know.
fn redirect(to: &str) -> Answer {
    let mut answer = text(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(to) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(header::LOCATION, to);
    }
    answer
}

fn list(directory: &File) -> io::Result<Vec<String>> {
    let entries = rustix::fs::Dir::read_from(directory)?;
    let mut names = Vec::new();
    for entry in entries.take(ENTRIES) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !matches!(name.as_str(), "." | "..") {
            names.push(if entry.file_type().is_dir() { format!("{name}/") } else { name });
        }
    }
    names.sort();
    Ok(names)
}

fn page(names: &[String]) -> Answer {
    let mut html = "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n".to_owned();
    for name in names {
        // Writing to a text cannot fail.
        let _ = writeln!(html, "<a href=\"{}\">{}</a>", encode(name), escape(name));
    }
    html.push_str("</pre>\n");
    let mut answer = text(StatusCode::OK, html);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

/// A file as long as it is now, or the part of it that is asked for.
async fn content(mut file: tokio::fs::File, length: u64, headers: &HeaderMap) -> Result<Answer, Refusal> {
    let failed = |error: io::Error| Refusal::internal(format!("{error}\n"));
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let (from, to, partial) = match range.map(|range| part(range, length)) {
        None | Some(Range::Other) => (0, length, false),
        Some(Range::Part(from, to)) => (from, to, true),
        Some(Range::Outside) => {
            let mut answer = text(StatusCode::RANGE_NOT_SATISFIABLE, "invalid range: failed to overlap\n");
            insert(&mut answer, header::CONTENT_RANGE, &format!("bytes */{length}"));
            return Ok(answer);
        }
    };
    let mut head = vec![0; 512];
    let read = file.read(&mut head).await.map_err(failed)?;
    head.truncate(read);
    file.seek(io::SeekFrom::Start(from)).await.map_err(failed)?;
    let body = if from == to { whole("") } else { StreamBody::new(chunks(file, to - from)).boxed_unsync() };
    let mut answer = Response::new(body);
    let kind = if is_text(&head) { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    insert(&mut answer, header::CONTENT_TYPE, kind);
    insert(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(&mut answer, header::ACCEPT_RANGES, "bytes");
    insert(&mut answer, header::CONTENT_LENGTH, &(to - from).to_string());
    if partial {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        insert(&mut answer, header::CONTENT_RANGE, &format!("bytes {from}-{}/{length}", to.saturating_sub(1)));
    }
    Ok(answer)
}

fn insert(answer: &mut Answer, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// One that ends early, because the file was cut, breaks the connection off: its length was said.
fn chunks(file: tokio::fs::File, left: u64) -> impl futures::Stream<Item = hyper::Result<Frame<Bytes>>> {
    futures::stream::unfold((file, left), |(mut file, mut left)| async move {
        let bytes = piece(&mut file, &mut left).await.ok()??;
        Some((Ok(Frame::data(bytes)), (file, left)))
    })
}

/// The next of the bytes that are left of a file; none when it has ended, before them too.
async fn piece(file: &mut tokio::fs::File, left: &mut u64) -> io::Result<Option<Bytes>> {
    let most = usize::try_from(*left).unwrap_or(CHUNK).min(CHUNK);
    if most == 0 {
        return Ok(None);
    }
    let mut buffer = BytesMut::zeroed(most);
    let read = file.read(&mut buffer).await?;
    buffer.truncate(read);
    *left = left.saturating_sub(read as u64);
    Ok(Some(buffer.freeze()).filter(|bytes| !bytes.is_empty()))
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// From the first byte to the one after the last.
    Part(u64, u64),
    Outside,
    /// Several, or of another unit: the whole is sent.
    Other,
}

/// The part of a file that a `Range` names (RFC 9110, 14.1.2).
fn part(range: &str, length: u64) -> Range {
    let Some((from, to)) = range.strip_prefix("bytes=").filter(|rest| !rest.contains(',')).and_then(|rest| rest.split_once('-')) else {
        return Range::Other;
    };
    match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), _) if from >= length => Range::Outside,
        (Ok(from), Ok(to)) if to >= from => Range::Part(from, to.saturating_add(1).min(length)),
        (Ok(from), Err(_)) if to.is_empty() => Range::Part(from, length),
        (Err(_), Ok(0)) if from.is_empty() => Range::Outside,
        (Err(_), Ok(last)) if from.is_empty() => Range::Part(length.saturating_sub(last), length),
        _ => Range::Other,
    }
}

fn is_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last character may go on.
        Err(error) => error.error_len().is_none(),
    };
    whole && !head.contains(&0)
}

/// Sends the log of a service that writes one: `SERVICE`, `SERVICE.log` or `SERVICE/SERVICE.log`.
pub(super) async fn copy(root: &Path, service: &str, sink: &Sender<Bytes>) {
    for name in [service.to_owned(), format!("{service}.log"), format!("{service}/{service}.log")] {
        let root = root.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let file = find(&root, &name)?;
            if file.metadata()?.is_dir() { Err(io::Error::from(io::ErrorKind::NotFound)) } else { Ok(file) }
        });
        let error: io::Error = match opened.await {
            Ok(Ok(file)) => match send(tokio::fs::File::from_std(file), sink).await {
                Ok(()) => return,
                Err(error) => error,
            },
            Ok(Err(error)) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Ok(Err(error)) => error,
            Err(error) => io::Error::other(error),
        };
        return say(sink, format!("\nerror getting log for {service}: {error}\n")).await;
    }
    say(sink, format!("\nlog not found for {service}\n")).await;
}

async fn send(mut file: tokio::fs::File, sink: &Sender<Bytes>) -> io::Result<()> {
    // No more than it has now: a busy log would never end.
    let mut left = file.metadata().await?.len();
    while let Some(bytes) = piece(&mut file, &mut left).await? {
        if sink.send(bytes).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The bytes that a path stands for; nothing if they are no text.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(*high)? << 4 | digit(*low)?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn encode(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' | b'+' | b'=' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn escape(name: &str) -> String {
    name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_files() {
        for (range, expected) in [
            ("bytes=0-4", Range::Part(0, 5)),
            ("bytes=5-", Range::Part(5, 10)),
            ("bytes=5-99", Range::Part(5, 10)),
            ("bytes=-3", Range::Part(7, 10)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=4-2", Range::Other),
            ("bytes=0-1,3-4", Range::Other),
            ("lines=1-2", Range::Other),
        ] {
            assert_eq!(part(range, 10), expected, "{range}");
        }
    }
}
