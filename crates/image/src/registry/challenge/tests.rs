use super::{Challenge, choose};

fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
    Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into), scope: scope.map(Into::into) })
}

#[test]
fn challenges_are_read() {
    let header = r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#;
    assert_eq!(choose([header].into_iter()), bearer("https://auth.example/token", Some("registry"), Some("repository:a/b:pull,push")));
    assert_eq!(choose(["bearer Realm=x , service=y"].into_iter()), bearer("x", Some("y"), None));
    assert_eq!(choose([r#"Bearer realm="a\"b""#].into_iter()), bearer("a\"b", None, None));
    assert_eq!(choose([r#"Basic realm="x""#].into_iter()), Some(Challenge::Basic));
    assert_eq!(choose(["Basic", "Bearer realm=x"].into_iter()), bearer("x", None, None), "tokens are preferred");
    for nothing in ["", "Bearer", "Negotiate abc", "Bearer service=x", "=", "Bearer =", "Bearer realm"] {
        assert_eq!(choose([nothing].into_iter()), None, "{nothing:?}");
    }
}
