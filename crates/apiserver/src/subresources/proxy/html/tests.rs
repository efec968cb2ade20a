use super::*;

fn rewriter() -> Rewriter {
    Rewriter::new(Links { prefix: "/p".to_owned(), backend: "10.0.0.1:80".to_owned(), asked: "api:6443".to_owned() })
}

/// Rewrites a document that arrives in pieces of this size.
fn rewritten(document: &str, size: usize) -> String {
    let (mut rewriter, mut out) = (rewriter(), Vec::new());
    for piece in document.as_bytes().chunks(size) {
        rewriter.push(piece, &mut out);
    }
    rewriter.finish(&mut out);
    String::from_utf8(out).unwrap()
}

fn check(document: &str, expected: &str) {
    for size in [1, 2, 3, 7, 64, usize::MAX] {
        assert_eq!(rewritten(document, size), expected, "in pieces of {size}");
    }
}

#[test]
fn links_are_rewritten_wherever_they_stand() {
    check(
        r#"<!DOCTYPE html><html><body background="/b.png"><a href="/x?a=1&amp;b=2">x</a><a class=c href='http://10.0.0.1:80/y'>y</a><img src=/z.png alt="/no">"#,
        r#"<!DOCTYPE html><html><body background="/p/b.png"><a href="/p/x?a=1&amp;b=2">x</a><a class=c href='/p/y'>y</a><img src=/p/z.png alt="/no">"#,
    );
    check("<FORM\nACTION = \"/go\" method=post >", "<FORM\nACTION = \"/p/go\" method=post >");
    check(
        r#"<video src="/v" poster='/w'/><link href=/s.css rel=stylesheet>"#,
        r#"<video src="/p/v" poster='/p/w'/><link href=/p/s.css rel=stylesheet>"#,
    );
    check(
        "<script src=\"/a.js\">fetch('<a href=\"/no\">')</script><a href=\"/b\">",
        "<script src=\"/p/a.js\">fetch('<a href=\"/no\">')</script><a href=\"/p/b\">",
    );
}

#[test]
fn everything_else_is_left_alone() {
    for document in [
        "",
        "plain text with < and > and <3 and a <",
        "<!-- <a href=\"/x\"> --><!--><p>",
        "<!-- not over <a href=\"/x\">",
        "<?php <a href='x'?>",
        "<a href=\"relative\"><a href=\"//example.com/x\"><a href=\"https://example.com/x\"><a href=\"#y\"><a href>",
        "<div href=\"/x\" data-src=\"/y\">",
        "<title><a href=\"/x\"></title>",
        "<style>a{background:url(/x)}</styles><a href=\"/x\"></style>",
        "<a title=\"<a href='/x'>\">",
        "</a href=\"/x\">",
        "<a href=\"/unfinished",
        "<a =/x>",
        "<plaintext><a href=\"/x\">",
    ] {
        check(document, document);
    }
    let mut bytes = b"<p>\xff\xfe\0</p><a href=\"\xff\">".to_vec();
    let mut out = Vec::new();
    let mut rewriter = rewriter();
    rewriter.push(&bytes, &mut out);
    rewriter.finish(&mut out);
    assert_eq!(out, std::mem::take(&mut bytes));
}

#[test]
fn a_tag_without_end_is_not_held_back_for_ever() {
    let (mut rewriter, mut out) = (rewriter(), Vec::new());
    let piece = [b'x'; 1024];
    rewriter.push(b"<img src=\"data:", &mut out);
    for _ in 0..100 {
        rewriter.push(&piece, &mut out);
    }
    assert!(rewriter.pending.len() <= LONGEST_TAG && out.len() >= 100 * 1024 - LONGEST_TAG);
    rewriter.push(b"\"><a href=\"/x\">", &mut out);
    rewriter.finish(&mut out);
    assert!(out.ends_with(b"x\"><a href=\"/p/x\">"));
}

#[test]
fn text_is_passed_on_at_once() {
    let (mut rewriter, mut out) = (rewriter(), Vec::new());
    rewriter.push(b"<p>so far", &mut out);
    assert_eq!(out, b"<p>so far");
}
