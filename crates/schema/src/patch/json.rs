//! JSON patch (RFC 6902).

use super::PatchError;
use crate::{Map, Str, Value};

/// Operations that one patch may have, as in the reference.
const MAX_OPERATIONS: usize = 10_000;
/// Values that all `copy` operations of a patch may make together: each could double the object.
const MAX_COPIED: usize = 1_000_000;
/// Values that all `move` operations of a patch may look through.
const MAX_MOVED: usize = 10_000_000;
/// Nesting that the result may have, as what is read: each operation could add to it.
const MAX_DEPTH: usize = 400;

type Result<T> = std::result::Result<T, PatchError>;

/// Applies a JSON patch.
pub fn json(target: &Value, patch: &Value) -> Result<Value> {
    let operations = patch.as_list().ok_or_else(|| malformed("json: cannot unmarshal object into Go value of type jsonpatch.Patch"))?;
    if operations.len() > MAX_OPERATIONS {
        let text = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}", operations.len());
        return Err(PatchError::TooLarge(text));
    }
    let mut document = target.clone();
    let mut work = Work::default();
    for operation in operations {
        apply(&mut document, operation, &mut work)?;
    }
    Ok(document)
}

/// What a patch has cost.
#[derive(Default)]
struct Work {
    copied: usize,
    moved: usize,
}

/// Checks that a value is not nested too deeply where it is put.
fn fits(path: &Pointer, depth: usize) -> Result<()> {
    if path.0.len() + depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(PatchError::TooLarge(format!("the result would be nested more than {MAX_DEPTH} deep")))
}

fn apply(document: &mut Value, operation: &Value, work: &mut Work) -> Result<()> {
    let name = operation.str_at(&["op"]);
    let path = Pointer::of(operation, "path")?;
    let value = || operation.get("value").cloned().unwrap_or_default();
    match name {
        "add" => {
            let value = value();
            fits(&path, measure(&value).1)?;
            add(document, &path, value, name)
        }
        "remove" => remove(document, &path, name).map(drop),
        "replace" => {
            fits(&path, operation.get("value").map_or(0, |value| measure(value).1))?;
            *find_mut(document, &path, name)? = value();
            Ok(())
        }
        "move" => {
            let from = Pointer::of(operation, "from")?;
            if path.starts_with(&from) {
                return Err(unprocessable(name, &path));
            }
            let moved = remove(document, &from, name)?;
            let (values, depth) = measure(&moved);
            work.moved += values;
            if work.moved > MAX_MOVED {
                return Err(PatchError::TooLarge("unable to move, the operations move too much".to_owned()));
            }
            fits(&path, depth)?;
            add(document, &path, moved, name)
        }
        "copy" => {
            let value = find_mut(document, &Pointer::of(operation, "from")?, name)?;
            let (values, depth) = measure(value);
            work.copied += values;
            if work.copied > MAX_COPIED {
                return Err(PatchError::TooLarge("unable to copy, the accumulated size increase of copy is too large".to_owned()));
            }
            fits(&path, depth)?;
            let value = value.clone();
            add(document, &path, value, name)
        }
        "test" => {
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            if descend(document, &path.0).map_or(wanted.is_null(), |found| found == wanted) {
                return Ok(());
            }
            Err(PatchError::Unprocessable(format!("testing value {path} failed: test failed")))
        }
        "" => Err(malformed("missing value: patch operation has no op")),
        other => Err(malformed(&format!("Unexpected kind: {other}"))),
    }
}

fn malformed(text: &str) -> PatchError {
    PatchError::Malformed(text.to_owned())
}

fn unprocessable(operation: &str, path: &Pointer) -> PatchError {
    PatchError::Unprocessable(format!("{operation} operation does not apply: doc is missing path: \"{path}\": missing value"))
}

/// How many values a tree has, and how deeply they are nested.
fn measure(value: &Value) -> (usize, usize) {
    fn all<'v>(values: impl Iterator<Item = &'v Value>) -> (usize, usize) {
        let (count, depth) = values.map(measure).fold((0, 0), |(count, depth), (more, deeper)| (count + more, depth.max(deeper)));
        (count + 1, depth + 1)
    }
    match value {
        Value::List(items) => all(items.iter()),
        Value::Map(map) => all(map.values()),
        _ => (1, 0),
    }
}

/// A JSON pointer (RFC 6901).
#[derive(PartialEq)]
struct Pointer(Vec<String>);

impl Pointer {
    fn of(operation: &Value, field: &str) -> Result<Self> {
        let text = operation.get(field).and_then(Value::as_str);
        let text = text.ok_or_else(|| malformed(&format!("missing value: patch operation has no {field}")))?;
        match text.strip_prefix('/') {
            Some(rest) => Ok(Self(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())),
            None if text.is_empty() => Ok(Self(Vec::new())),
            None => Err(malformed(&format!("{field} must start with a slash: {text:?}"))),
        }
    }

    /// True if `from` is a real parent of this.
    fn starts_with(&self, from: &Self) -> bool {
        self.0.len() > from.0.len() && self.0.starts_with(&from.0)
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

fn find_mut<'a>(document: &'a mut Value, path: &Pointer, operation: &str) -> Result<&'a mut Value> {
    descend(document, &path.0).ok_or_else(|| unprocessable(operation, path))
}

fn descend<'a>(document: &'a mut Value, tokens: &[String]) -> Option<&'a mut Value> {
    tokens.iter().try_fold(document, |value, token| match value {
        Value::Map(map) => map.get_mut(token),
        Value::List(items) => index(token, items.len()).and_then(|index| items.get_mut(index)),
        _ => None,
    })
}

/// A list index: digits without a leading zero.
fn index(token: &str, len: usize) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with(['0', '+']) && !token.is_empty());
    token.parse().ok().filter(|index| plain && *index <= len)
}

fn add(document: &mut Value, path: &Pointer, value: Value, operation: &str) -> Result<()> {
    let Some((last, parents)) = path.0.split_last() else {
        *document = value;
        return Ok(());
    };
    match descend(document, parents) {
        Some(Value::Map(map)) => {
            map.insert(Str::from(last), value);
            Ok(())
        }
        Some(Value::List(items)) => {
            let at = if last == "-" { Some(items.len()) } else { index(last, items.len()) };
            let at = at.ok_or_else(|| unprocessable(operation, path))?;
            items.insert(at, value);
            Ok(())
        }
        // A list that was never set is `null` in canonical form.
        Some(parent @ Value::Null) if last == "-" => {
            *parent = Value::List(vec![value]);
            Ok(())
        }
        _ => Err(unprocessable(operation, path)),
    }
}

fn remove(document: &mut Value, path: &Pointer, operation: &str) -> Result<Value> {
    let Some((last, parents)) = path.0.split_last() else {
        return Ok(std::mem::replace(document, Value::Map(Map::new())));
    };
    let removed = match descend(document, parents) {
        Some(Value::Map(map)) => map.remove(last),
        Some(Value::List(items)) => index(last, items.len()).filter(|at| *at < items.len()).map(|at| items.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| unprocessable(operation, path))
}
