//! The types of expressions.

use super::Issue;
use super::ast::{Expr, Item, Kind};
use super::environments::Environment;
use super::functions::{Form, forms};
use super::patterns::wrong_pattern;
use super::types::{Bindings, Type, filled, fits, joined};

struct Checker<'a> {
    environment: &'a Environment,
    /// The variables of macros, the innermost last.
    bound: Vec<(String, Type)>,
    uses: Vec<String>,
    issues: Vec<Issue>,
}

/// The type of an expression and the variables it uses.
pub(super) fn check(expr: &Expr, environment: &Environment) -> Result<(Type, Vec<String>), Vec<Issue>> {
    let mut checker = Checker { environment, bound: Vec::new(), uses: Vec::new(), issues: Vec::new() };
    let result = checker.expr(expr);
    if checker.issues.is_empty() { Ok((result, checker.uses)) } else { Err(checker.issues) }
}

/// Names of types, as values.
const TYPES: [&str; 11] = ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "optional_type"];

/// The most names, with dots between them, that are one name: of variables and functions.
const MOST_NAMES: usize = 4;

/// `a.b.c`, if it is nothing but names, and not too many to be one.
fn qualified(expr: &Expr) -> Option<String> {
    match &expr.kind {
        _ if expr.depth > MOST_NAMES => None,
        Kind::Ident(name) => Some(name.clone()),
        Kind::Select { operand, field, optional: false } => Some(format!("{}.{field}", qualified(operand)?)),
        _ => None,
    }
}

impl Checker<'_> {
    fn issue(&mut self, at: usize, words: String) -> Type {
        self.issues.push(Issue { at, words });
        Type::Error
    }

    fn undeclared(&mut self, at: usize, name: &str) -> Type {
        self.issue(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound.iter().any(|(bound, _)| bound == name)
    }

    /// The type of a variable.
    fn variable(&mut self, name: &str) -> Option<Type> {
        if let Some((_, found)) = self.bound.iter().rev().find(|(bound, _)| bound == name) {
            return Some(found.clone());
        }
        let found = self.environment.find(name)?.clone();
        if !self.uses.iter().any(|used| used == name) {
            self.uses.push(name.to_owned());
        }
        Some(found)
    }

    fn expr(&mut self, expr: &Expr) -> Type {
        match &expr.kind {
            Kind::Literal(found, _) => found.clone(),
            Kind::Ident(name) => match self.variable(name) {
                Some(found) => found,
                None if TYPES.contains(&name.as_str()) => Type::Meta,
                None => self.undeclared(expr.at, name),
            },
            Kind::Select { operand, field, optional } => {
                // A variable may have dots in its name.
                let whole = qualified(expr).filter(|whole| !self.is_bound(whole.split('.').next().unwrap_or_default()));
                if let Some(found) = whole.and_then(|whole| self.variable(&whole)) {
                    return found;
                }
                let of = self.expr(operand);
                match self.field(expr.at, &of, field) {
                    found @ Type::Optional(_) => found,
                    found if *optional => Type::optional(found),
                    found => found,
                }
            }
            Kind::Has { operand, field } => {
                let of = self.expr(operand);
                self.field(expr.at, &of, field);
                Type::Bool
            }
            Kind::Call { name, target, args } => self.call(expr.at, name, target.as_deref(), args),
            Kind::List(items) => Type::list(self.items(items.iter())),
            Kind::Map(entries) => {
                let keys: Vec<Type> = entries.iter().map(|(key, _)| self.expr(key)).collect();
                let value = self.items(entries.iter().map(|(_, item)| item));
                Type::map(keys.into_iter().reduce(|one, other| joined(&one, &other)).unwrap_or(Type::Dyn), value)
            }
            Kind::Struct(name, fields) => {
                self.items(fields.iter().map(|(_, item)| item));
                self.undeclared(expr.at, name)
            }
            Kind::Macro { name, range, variables, args } => self.comprehension(expr.at, name, range, variables, args),
        }
    }

    fn items<'e>(&mut self, items: impl Iterator<Item = &'e Item>) -> Type {
        let mut all: Option<Type> = None;
        for item in items {
            let found = match (self.expr(&item.value), item.optional) {
                (Type::Optional(of), true) => *of,
                (found, true) if !found.is_open() => {
                    self.issue(item.value.at, format!("expected type 'optional_type(dyn)' but found '{found}'"))
                }
                (found, _) => found,
            };
            all = Some(all.map_or(found.clone(), |all| joined(&all, &found)));
        }
        all.unwrap_or(Type::Dyn)
    }

    fn field(&mut self, at: usize, of: &Type, field: &str) -> Type {
        match of {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(found) => found.clone(),
                None => self.issue(at, format!("undefined field '{field}'")),
            },
            Type::Optional(inner) => match self.field(at, inner, field) {
                found @ Type::Optional(_) => found,
                found => Type::optional(found),
            },
            open if open.is_open() => Type::Dyn,
            other => self.issue(at, format!("type '{other}' does not support field selection")),
        }
    }

    fn call(&mut self, at: usize, name: &str, target: Option<&Expr>, args: &[Expr]) -> Type {
        // `sets.contains(a, b)` is a function, unless there is a variable `sets`.
        let namespaced = target.and_then(qualified).filter(|prefix| {
            let root = prefix.split('.').next().unwrap_or_default();
            !self.is_bound(root) && self.environment.find(root).is_none()
        });
        let whole = namespaced.map(|prefix| format!("{prefix}.{name}")).filter(|whole| forms(whole).is_some());
        let (name, target) = match &whole {
            Some(whole) => (whole.as_str(), None),
            None => (name, target),
        };
        let target = target.map(|target| self.expr(target));
        let given: Vec<Type> = args.iter().map(|arg| self.expr(arg)).collect();
        let Some(known) = forms(name) else { return self.undeclared(at, name) };
        if matches!(name, "_&&_" | "_||_") {
            return self.conjunction(at, name, &given);
        }
        let found = resolve(known, target.as_ref(), &given);
        if let (Some(_), "matches", Some(Expr { at, kind: Kind::Literal(Type::String, text), .. })) = (&found, name, args.last()) {
            self.pattern(*at, text);
        }
        found.unwrap_or_else(|| self.mismatch(at, name, target.as_ref(), &given))
    }

    /// A pattern that is written down must be one.
    fn pattern(&mut self, at: usize, text: &str) {
        let inner = text.trim_start_matches(['r', 'R']);
        let raw = inner.len() < text.len();
        let plain = inner.trim_matches(['"', '\'']);
        if (raw || !plain.contains('\\')) && wrong_pattern(plain).is_some() {
            self.issue(at, "invalid matches argument".to_owned());
        }
    }

    fn conjunction(&mut self, at: usize, name: &str, given: &[Type]) -> Type {
        let Some(wrong) = given.iter().position(|kind| *kind != Type::Bool && !kind.is_open()) else { return Type::Bool };
        let left = wrong.saturating_sub(1);
        let pair = given.get(left..left + 2).unwrap_or(given).to_vec();
        self.mismatch(at, name, None, &pair)
    }

    fn mismatch(&mut self, at: usize, name: &str, target: Option<&Type>, given: &[Type]) -> Type {
        let args: Vec<String> = given.iter().map(ToString::to_string).collect();
        let args = args.join(", ");
        let applied = target.map_or_else(|| format!("({args})"), |target| format!("{target}.({args})"));
        self.issue(at, format!("found no matching overload for '{name}' applied to '{applied}'"))
    }

    /// The types of a macro's variables.
    fn variables(&mut self, name: &str, at: usize, over: &Type, count: usize) -> Vec<Type> {
        match (name, over) {
            ("bind", _) => vec![over.clone()],
            ("optMap" | "optFlatMap", Type::Optional(of)) => vec![(**of).clone()],
            (_, open) if open.is_open() => vec![Type::Dyn; count],
            ("optMap" | "optFlatMap", other) => vec![self.mismatch(at, "hasValue", Some(other), &[])],
            (_, Type::List(item)) if count == 2 => vec![Type::Int, (**item).clone()],
            (_, Type::Map(key, value)) if count == 2 => vec![(**key).clone(), (**value).clone()],
            (_, Type::List(item)) => vec![(**item).clone()],
            (_, Type::Map(key, _)) => vec![(**key).clone()],
            (_, other) => {
                let words = format!("expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)");
                vec![self.issue(at, words); count]
            }
        }
    }

    fn comprehension(&mut self, at: usize, name: &str, range: &Expr, variables: &[String], args: &[Expr]) -> Type {
        let over = self.expr(range);
        let types = self.variables(name, range.at, &over, variables.len());
        let before = self.bound.len();
        self.bound.extend(variables.iter().cloned().zip(types));
        let found: Vec<Type> = args.iter().map(|arg| self.expr(arg)).collect();
        self.bound.truncate(before);
        let (first, last) = (found.first().cloned().unwrap_or(Type::Dyn), found.last().cloned().unwrap_or(Type::Dyn));
        let is_bool = first == Type::Bool || first.is_open();
        match name {
            "all" | "exists" if !is_bool => {
                let operator = if name == "all" { "_&&_" } else { "_||_" };
                self.mismatch(at, operator, None, &[Type::Bool, first])
            }
            "exists_one" | "existsOne" if !is_bool => self.mismatch(at, "_?_:_", None, &[first, Type::Int, Type::Int]),
            "filter" if !is_bool => self.mismatch(at, "_?_:_", None, &[first, over.clone(), over]),
            "map" if found.len() == 2 && !is_bool => {
                let list = Type::list(last);
                self.mismatch(at, "_?_:_", None, &[first, list.clone(), list])
            }
            "all" | "exists" | "exists_one" | "existsOne" => Type::Bool,
            "filter" | "sortBy" => match over {
                Type::Map(key, _) => Type::List(key),
                other => other,
            },
            "map" | "transformList" => Type::list(last),
            "transformMap" => match over {
                Type::Map(key, _) => Type::map(*key, last),
                Type::List(_) => Type::map(Type::Int, last),
                _ => Type::map(Type::Dyn, last),
            },
            "optMap" => Type::optional(last),
            _ => last,
        }
    }
}

/// What the fitting forms of a function give; if they do not agree, only evaluating will tell.
fn resolve(known: &[Form], target: Option<&Type>, given: &[Type]) -> Option<Type> {
    let mut found: Option<Type> = None;
    for form in known.iter().filter(|form| form.target.is_some() == target.is_some() && form.args.len() == given.len()) {
        let mut bindings = Bindings::new();
        let mut all = target.into_iter().zip(&form.target).chain(given.iter().zip(&form.args));
        if all.all(|(given, declared)| fits(given, declared, &mut bindings)) {
            let result = filled(&form.result, &bindings);
            found = Some(match found {
                Some(before) if before != result => Type::Dyn,
                _ => result,
            });
        }
    }
    found
}
