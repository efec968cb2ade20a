use super::Reference;

fn canonical(name: &str) -> String {
    name.parse::<Reference>().unwrap_or_else(|error| panic!("{error}")).to_string()
}

fn problem(name: &str) -> String {
    name.parse::<Reference>().expect_err(name).to_string()
}

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn names_are_completed_as_docker_does() {
    for (name, expected) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.14.2", "docker.io/library/nginx:1.14.2"),
        ("library/nginx", "docker.io/library/nginx:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
        ("bitnami/nginx", "docker.io/bitnami/nginx:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:y", "localhost:5000/x:y"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("UPPER/x", "UPPER/x:latest"),
        ("a__b/c-----d", "docker.io/a__b/c-----d:latest"),
        ("x:Tag_1.2-3", "docker.io/library/x:Tag_1.2-3"),
    ] {
        assert_eq!(canonical(name), expected, "{name}");
        assert_eq!(canonical(expected), expected, "canonical names stay");
    }
}

#[test]
fn digests_are_kept_and_add_no_tag() {
    assert_eq!(canonical(&format!("nginx@{DIGEST}")), format!("docker.io/library/nginx@{DIGEST}"));
    let both: Reference = format!("nginx:1@{DIGEST}").parse().unwrap();
    assert_eq!(both.to_string(), format!("docker.io/library/nginx:1@{DIGEST}"));
    assert_eq!(both.object(), DIGEST);
    assert_eq!(both.tag_only().unwrap().to_string(), "docker.io/library/nginx:1");
}

#[test]
fn bad_names_have_the_references_words() {
    for name in [
        "",
        ":",
        "a:",
        "/a",
        "a/",
        "a//b",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "a:b:c",
        "x@",
        "x@sha256:abc",
        "a b",
        "a:t/x",
        "example.com:port/x",
        "[::1/x",
        "nginx\0",
        "ngïnx",
        "a/../b",
        "https://example.com/x",
    ] {
        assert_eq!(problem(name), format!("couldn't parse image name {name:?}: invalid reference format"));
    }
    assert_eq!(
        problem("Nginx"),
        "couldn't parse image name \"Nginx\": invalid reference format: repository name (Nginx) must be lowercase"
    );
    let hex = &DIGEST[7..];
    assert_eq!(
        problem(hex),
        format!("couldn't parse image name {hex:?}: invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings")
    );
    let long = "a".repeat(300);
    assert!(problem(&long).ends_with("repository name must not be more than 255 characters"));
    assert!(problem(&format!("x:{}", "t".repeat(129))).ends_with("invalid reference format"));
}
