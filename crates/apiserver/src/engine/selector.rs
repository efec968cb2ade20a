//! Label and field selectors.

use crate::{engine::Kind, ledger::Entry, request::Term, status::ApiError, strategies::validation::names};

/// A parsed label selector: requirements that must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    ///
    /// # Errors
    ///
    /// 400 for anything else.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        Parser { rest: text }.requirements().map(Self).map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))
    }

    /// Whether everything is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether labels are selected, which `label` looks up.
    pub(crate) fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            match (&requirement.test, value) {
                (Test::Exists, value) => value.is_some(),
                (Test::Absent, value) => value.is_none(),
                (Test::In(values), Some(value)) => values.iter().any(|one| one == value),
                (Test::NotIn(values), Some(value)) => !values.iter().any(|one| one == value),
                (Test::NotIn(_), None) => true,
                (Test::Greater(bound), Some(value)) => value.parse::<i64>().is_ok_and(|number| number > *bound),
                (Test::Less(bound), Some(value)) => value.parse::<i64>().is_ok_and(|number| number < *bound),
                (Test::In(_) | Test::Greater(_) | Test::Less(_), None) => false,
            }
        })
    }
}

/// A recursive descent over the selector's text.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirements(&mut self) -> Result<Vec<Requirement>, String> {
        let mut found = Vec::new();
        self.space();
        if self.rest.is_empty() {
            return Ok(found);
        }
        loop {
            found.push(self.requirement()?);
            self.space();
            if self.rest.is_empty() {
                return Ok(found);
            }
            if !self.eat(",") {
                return Err(format!("found '{}', expected: ',' or 'end of string'", self.peek()));
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        self.space();
        if self.eat("!") {
            let key = self.key()?;
            return Ok(Requirement { key, test: Test::Absent });
        }
        let key = self.key()?;
        self.space();
        let test = if self.rest.is_empty() || self.rest.starts_with(',') {
            Test::Exists
        } else if self.eat("==") || self.eat("=") {
            Test::In(vec![self.value()?])
        } else if self.eat("!=") {
            Test::NotIn(vec![self.value()?])
        } else if self.eat(">") {
            Test::Greater(self.number()?)
        } else if self.eat("<") {
            Test::Less(self.number()?)
        } else {
            match self.word() {
                "in" => Test::In(self.values()?),
                "notin" => Test::NotIn(self.values()?),
                other => {
                    return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"));
                }
            }
        };
        Ok(Requirement { key, test })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        self.space();
        if !self.eat("(") {
            return Err(format!("found '{}', expected: '('", self.peek()));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            self.space();
            if self.eat(")") {
                return Ok(values);
            }
            if !self.eat(",") {
                return Err(format!("found '{}', expected: ',' or ')'", self.peek()));
            }
        }
    }

    fn key(&mut self) -> Result<String, String> {
        self.space();
        let key = self.word();
        if let Some(why) = names::qualified_name(key).first() {
            return Err(format!("invalid label key {key:?}: {why}"));
        }
        Ok(key.to_owned())
    }

    fn value(&mut self) -> Result<String, String> {
        self.space();
        let value = self.word();
        if let Some(why) = names::label_value(value).first() {
            return Err(format!("invalid label value: {value:?}: {why}"));
        }
        Ok(value.to_owned())
    }

    fn number(&mut self) -> Result<i64, String> {
        self.space();
        let word = self.word();
        word.parse().map_err(|_| format!("values[0][{word}]: for 'Gt', 'Lt' operators, the value must be an integer"))
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn peek(&self) -> &'a str {
        self.rest.get(..self.rest.len().min(16)).unwrap_or(self.rest)
    }
}

/// A parsed field selector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<FieldTest>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTest {
    field: String,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Parses `a=b,c!=d`, with the fields that `kind` knows.
    ///
    /// # Errors
    ///
    /// 400 for bad syntax or an unknown field.
    pub(crate) fn parse(text: &str, kind: &Kind) -> Result<Self, ApiError> {
        let mut tests = Vec::new();
        let terms = Term::parse_all(text)
            .map_err(|term| ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'")))?;
        for Term { field, equal, value } in terms {
            let field = kind.stored_field(&field);
            if !matches!(&*field, "metadata.name" | "metadata.namespace") && !kind.fields().any(|known| **known == *field) {
                return Err(unknown(&field, kind));
            }
            tests.push(FieldTest { field: field.into_owned(), equal, value });
        }
        Ok(Self(tests))
    }

    /// Whether everything is selected.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one value that `field` must have, if the selector says so.
    pub(crate) fn exact(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|test| test.equal && test.field == field).map(|test| test.value.as_str())
    }

    /// The one namespace that can have what is selected: that of the request, or one that the selector names.
    pub(crate) fn namespace<'a>(&'a self, kind: &Kind, requested: &'a str) -> &'a str {
        match self.exact("metadata.namespace") {
            Some(wanted) if requested.is_empty() && kind.served.namespaced => wanted,
            _ => requested,
        }
    }

    /// The key of the one object that can be selected, if the selector names it. `namespace` is that of [`Self::namespace`].
    pub(crate) fn key(&self, kind: &Kind, namespace: &str) -> Option<String> {
        let name = self.exact("metadata.name")?;
        (!kind.served.namespaced || !namespace.is_empty()).then(|| kind.key(namespace, name))
    }

    /// A field other than name and namespace that must have one value, for the ledger's index.
    pub(crate) fn pin(&self) -> Option<(&str, &str)> {
        self.0.iter().find(|test| test.equal && !test.field.starts_with("metadata.")).map(|test| (test.field.as_str(), test.value.as_str()))
    }

    /// Whether an object is selected.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        self.0.iter().all(|test| {
            let value = match test.field.as_str() {
                "metadata.name" => entry.name(),
                "metadata.namespace" => entry.namespace().unwrap_or_default(),
                field => entry.index().field(field).unwrap_or_default(),
            };
            (value == test.value) == test.equal
        })
    }
}

fn unknown(field: &str, kind: &Kind) -> ApiError {
    if kind.fields().next().is_some() {
        ApiError::bad_request(format!("field label not supported: {field}"))
    } else {
        ApiError::bad_request(format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""))
    }
}

/// What a list or watch selects.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) labels: LabelSelector,
    pub(super) fields: FieldSelector,
}

impl Selection {
    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, entry: &Entry) -> bool {
        self.labels.matches(|key| entry.index().label(key)) && self.fields.matches(entry)
    }
}
