//! Expressions that are accepted, with their types, and what is said about others.

use super::{Environment, Type, admission, check, devices, schema_type};

fn environment() -> Environment {
    let schema = corten_schema::value!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer"}, "share": {"type": "number"}, "name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}}, "port": {"x-kubernetes-int-or-string": true},
                "a-b.c": {"type": "boolean"}, "namespace": {"type": "string"}, "since": {"type": "string", "format": "date-time"},
            }},
        },
    });
    let mut environment = Environment::default();
    environment.declare("self", schema_type(&schema, true).unwrap());
    environment
}

#[test]
fn expressions_have_types() {
    for (expression, expected) in [
        ("self.spec.size > 3 && self.spec.name != ''", "bool"),
        ("self.spec.size < self.spec.share", "bool"),
        ("self.metadata.name + '-' + string(self.spec.size)", "string"),
        ("self.spec.tags.all(tag, tag.startsWith('a') || size(tag) > 2)", "bool"),
        ("self.spec.tags.map(tag, size(tag))", "list(int)"),
        ("self.spec.tags.filter(tag, tag in ['a', 'b'])", "list(string)"),
        ("self.spec.labels.exists(key, self.spec.labels[key] == 'x')", "bool"),
        ("has(self.spec.size) ? [1, 2] : []", "list(int)"),
        ("self.spec.port == 80 || self.spec.port == 'http'", "bool"),
        ("self.spec.a__dash__b__dot__c", "bool"),
        ("self.spec.__namespace__", "string"),
        ("self.spec.since - duration('1h')", "timestamp"),
        ("self.spec.since.getFullYear()", "int"),
        ("self.spec.?name.orValue('none')", "string"),
        ("self.spec.labels[?'a'].hasValue()", "bool"),
        ("optional.of(3).optMap(x, x + 1).value()", "int"),
        ("cel.bind(x, self.spec.size, x * x)", "int"),
        ("self.spec.tags.all(i, tag, i < 5 && tag != '')", "bool"),
        ("{'a': 1, 'b': 2}['a']", "int"),
        ("[1, 'a', 2.5]", "list(dyn)"),
        ("-self.spec.size % 2", "int"),
        ("!(true && false || true)", "bool"),
        ("self.spec.name.matches('^[a-z]+$')", "bool"),
        ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", "bool"),
        ("url('https://a/b').getHost()", "string"),
        ("ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.1.1')", "bool"),
        ("sets.contains(self.spec.tags, ['a'])", "bool"),
        ("self.spec.tags.sum()", "string"),
        ("'%d of %s'.format([1, 'x'])", "string"),
        ("format.dns1123Label().validate('a').hasValue()", "bool"),
        ("1 + 2 * 3 - 4 / 2 == 5", "bool"),
        ("\"\"\"a\nb\"\"\" + 'c' // a comment", "string"),
        ("r'\\d' + 'x'", "string"),
        ("type(self.spec.size) == int", "bool"),
        ("0x1F + 3", "int"),
        ("1u + 2u", "uint"),
        ("1e3 + .5", "double"),
    ] {
        let checked = check(expression, &environment()).unwrap_or_else(|why| panic!("{expression}: {why}"));
        assert_eq!(checked.result.to_string(), expected, "{expression}");
    }
}

#[test]
fn admission_sees_the_request() {
    let environment = admission(true, true);
    for expression in [
        "object.spec.replicas <= params.maxReplicas",
        "request.operation == 'CREATE' && request.userInfo.groups.exists(g, g == 'x')",
        "authorizer.group('apps').resource('deployments').namespace('a').check('get').allowed()",
        "authorizer.requestResource.check('get').allowed()",
        "namespaceObject.metadata.labels.env == 'prod'",
        "!has(object.metadata.labels) || object.metadata.labels.all(k, k.size() < 10)",
        "oldObject == null || object.spec == oldObject.spec",
    ] {
        let checked = check(expression, &environment).unwrap_or_else(|why| panic!("{expression}: {why}"));
        assert_eq!(checked.result, Type::Bool, "{expression}");
    }
    assert_eq!(check("params.x == object.y", &environment).unwrap().uses, ["params", "object"]);
    assert_eq!(check("object.spec.flag", &environment).unwrap().result, Type::Dyn);
    let words = check("params.x == 1", &admission(false, true)).unwrap_err().to_string();
    assert_eq!(words, "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x == 1\n | ^");
    let words = check("request.method == 'x'", &environment).unwrap_err().to_string();
    assert_eq!(words, "compilation failed: ERROR: <input>:1:8: undefined field 'method'\n | request.method == 'x'\n | .......^");
    let words = check("device.attributes[true].someBoolean", &devices()).unwrap_err().to_string();
    assert_eq!(
        words,
        "compilation failed: ERROR: <input>:1:18: found no matching overload for '_[_]' applied to '(map(string, map(string, any)), bool)'\n \
         | device.attributes[true].someBoolean\n | .................^"
    );
}

/// The first line of what is wrong.
fn wrong(expression: &str) -> String {
    let words = check(expression, &environment()).map_or_else(|why| why.to_string(), |checked| format!("accepted: {}", checked.result));
    words.lines().next().unwrap().trim_start_matches("compilation failed: ERROR: <input>:").to_owned()
}

#[test]
fn places_and_words_of_syntax_errors() {
    const OPERAND: &str = "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER";
    for (expression, expected) in [
        ("self.spec.size >", format!("1:17: Syntax error: mismatched input '<EOF>' expecting {{{OPERAND}}}")),
        ("self.spec.size == == 1", format!("1:19: Syntax error: extraneous input '==' expecting {{{OPERAND}}}")),
        ("1 + +", format!("1:5: Syntax error: mismatched input '+' expecting {{{OPERAND}}}")),
        ("a b", "1:3: Syntax error: extraneous input 'b' expecting <EOF>".to_owned()),
        ("a)", "1:2: Syntax error: extraneous input ')' expecting <EOF>".to_owned()),
        (
            "fail to compile",
            "1:6: Syntax error: mismatched input 'to' expecting {<EOF>, '==', '!=', 'in', '<', '<=', '>=', '>', '&&', '||', '[', '.', \
             '-', '?', '+', '*', '/', '%'}"
                .to_owned(),
        ),
        ("object.x in [1, 2, ", "1:20: Syntax error: missing ']' at '<EOF>'".to_owned()),
        ("x in [1, 2", "1:11: Syntax error: mismatched input '<EOF>' expecting {']', ','}".to_owned()),
        ("self.spec.tags.all(y, y > 'a'", "1:30: Syntax error: missing ')' at '<EOF>'".to_owned()),
        ("(a b)", "1:4: Syntax error: extraneous input 'b' expecting ')'".to_owned()),
        ("{'a' 1}", "1:6: Syntax error: missing ':' at '1'".to_owned()),
        ("a ? b c", "1:7: Syntax error: missing ':' at 'c'".to_owned()),
        ("a.", "1:3: Syntax error: no viable alternative at input '.'".to_owned()),
        ("a = b", "1:3: Syntax error: token recognition error at: '= '".to_owned()),
        ("'abc", "1:1: Syntax error: token recognition error at: ''abc'".to_owned()),
        ("@a", "1:1: Syntax error: token recognition error at: '@'".to_owned()),
        ("1.all(2, true)", "1:7: argument must be a simple name".to_owned()),
        ("has(a)", "1:5: invalid argument to has() macro".to_owned()),
        ("12345678901234567890", "1:1: invalid int literal".to_owned()),
        ("1 +\n2 2", "2:3: Syntax error: extraneous input '2' expecting <EOF>".to_owned()),
    ] {
        assert_eq!(wrong(expression), expected, "{expression}");
    }
}

#[test]
fn places_and_words_of_wrong_types() {
    for (expression, expected) in [
        ("self.spec.none == 1", "1:10: undefined field 'none'"),
        ("self.spec.size == 'a'", "1:16: found no matching overload for '_==_' applied to '(int, string)'"),
        ("self.spec.size + 1.5", "1:16: found no matching overload for '_+_' applied to '(int, double)'"),
        ("self.spec.size && true", "1:16: found no matching overload for '_&&_' applied to '(int, bool)'"),
        ("foo(1)", "1:4: undeclared reference to 'foo' (in container '')"),
        ("size(1)", "1:5: found no matching overload for 'size' applied to '(int)'"),
        ("self.spec.name.startsWith(1)", "1:26: found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("self.spec.name.nothing()", "1:23: undeclared reference to 'nothing' (in container '')"),
        (
            "self.spec.size.all(x, true)",
            "1:10: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("self.spec.size.x", "1:15: type 'int' does not support field selection"),
        ("self.spec.tags[0] > 1", "1:19: found no matching overload for '_>_' applied to '(string, int)'"),
        ("self.spec.name.matches('(')", "1:24: invalid matches argument"),
        ("oldSelf.x", "1:1: undeclared reference to 'oldSelf' (in container '')"),
    ] {
        assert_eq!(wrong(expression), expected, "{expression}");
    }
    let both = check("foo + bar", &environment()).unwrap_err().to_string();
    assert_eq!(both.matches("undeclared reference").count(), 2, "{both}");
}

#[test]
fn deep_and_long_expressions_are_bounded() {
    let deep = ["(", "[", "-", "a.", "1+", "a[", "1||1&&1==1+1*("].map(|piece| piece.repeat(6_000));
    for text in deep.iter().chain(&["!".repeat(300), format!("{}1", "1+".repeat(300))]) {
        assert!(check(text, &environment()).is_err());
    }
    assert!(wrong(&format!("{}1", "1+".repeat(300))).contains("expression recursion limit exceeded: 250"));
    assert_eq!(check(&format!("{}1{}", "(".repeat(60), ")".repeat(60)), &environment()).unwrap().result, Type::Int);
    assert_eq!(check(&format!("{}1", "1+".repeat(240)), &environment()).unwrap().result, Type::Int);
    assert!(check(&"@".repeat(90_000), &environment()).unwrap_err().to_string().ends_with("\n89901 more errors were truncated"));
    // Patterns that are large once they are compiled, and no syntax errors.
    let large = vec!["'a'.matches('(((a{99}){99}){99}){99}')"; 2_000].join(" || ");
    assert_eq!(check(&large, &environment()).unwrap().result, Type::Bool);
    // A type that would be deeper than the stack.
    let deeper = ".map(x, [[[[[[[[x]]]]]]]])".repeat(240);
    assert!(matches!(check(&format!("[1]{deeper}"), &environment()).unwrap().result, Type::List(_)));
    // Types that would double with each name; issues that would all show a long line.
    let doubling = (0..50).rev().fold("true".to_owned(), |inner, n| format!("cel.bind(x{}, {{x{n}: x{n}}}, {inner})", n + 1));
    assert_eq!(check(&format!("cel.bind(x0, 1, {doubling})"), &environment()).unwrap().result, Type::Bool);
    for count in [5_000, 40_000] {
        let told = check(&format!("[{}]", vec!["a"; count].join(",")), &environment()).unwrap_err().to_string();
        assert!(told.len() < 200_000 && told.ends_with("more errors were truncated"), "{}", told.len());
    }
    let long = vec!["true"; 5000].join(" && ");
    assert_eq!(check(&long, &environment()).unwrap().result, Type::Bool);
    assert!(check(&" ".repeat(100_001), &environment()).unwrap_err().to_string().contains("size exceeds limit"));
}
