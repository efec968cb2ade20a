//! JSON patch (RFC 6902).

use super::PatchError;
use crate::{Map, Str, Value, go};

/// Operations that one patch may have, as in the reference.
const MAX_OPERATIONS: usize = 10_000;
/// Bytes that all `copy` operations of a patch may make together, as in the reference: each could double the object.
const MAX_COPIED: usize = 3 << 20;
/// Values that the operations of a patch may move, in lists and by `move`.
const MAX_MOVED: usize = 50_000_000;
/// Nesting that the result may have, as what is read: each operation could add to it.
const MAX_DEPTH: usize = 400;

type Result<T> = std::result::Result<T, PatchError>;

/// Applies a JSON patch.
pub fn json(target: &Value, patch: &Value) -> Result<Value> {
    let operations = patch.as_list().ok_or_else(|| malformed(&go::cannot_unmarshal(patch, "jsonpatch.Patch")))?;
    if operations.len() > MAX_OPERATIONS {
        let text = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}", operations.len());
        return Err(PatchError::TooLarge(text));
    }
    if let Some(other) = operations.iter().find(|operation| !matches!(operation, Value::Map(_))) {
        return Err(malformed(&go::cannot_unmarshal(other, "jsonpatch.Operation")));
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

impl Work {
    fn moves(&mut self, values: usize) -> Result<()> {
        self.moved += values;
        if self.moved <= MAX_MOVED {
            return Ok(());
        }
        Err(PatchError::TooLarge("the operations move too much".to_owned()))
    }
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
            fits(&path, Measure::of(&value).depth)?;
            add(document, &path, value, name, work)
        }
        "remove" => remove(document, &path, name, work).map(drop),
        "replace" => {
            fits(&path, operation.get("value").map_or(0, |value| Measure::of(value).depth))?;
            *find_mut(document, &path, name)? = value();
            Ok(())
        }
        "move" => {
            let from = Pointer::of(operation, "from")?;
            if path.starts_with(&from) {
                return Err(unprocessable(name, &path));
            }
            let moved = remove(document, &from, name, work)?;
            let measure = Measure::of(&moved);
            work.moves(measure.values)?;
            fits(&path, measure.depth)?;
            add(document, &path, moved, name, work)
        }
        "copy" => {
            let value = find_mut(document, &Pointer::of(operation, "from")?, name)?;
            let measure = Measure::of(value);
            work.copied = work.copied.saturating_add(measure.bytes);
            if work.copied > MAX_COPIED {
                let copied = work.copied;
                let text = format!("Unable to copy, the accumulated size increase of copy is {copied}, exceeding the limit {MAX_COPIED}");
                return Err(PatchError::Unprocessable(text));
            }
            fits(&path, measure.depth)?;
            let value = value.clone();
            add(document, &path, value, name, work)
        }
        "test" => {
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            if descend(document, &path.0).map_or(wanted.is_null(), |found| found == wanted) {
                return Ok(());
            }
            Err(PatchError::Unprocessable(format!("testing value {path} failed: test failed")))
        }
        other => Err(PatchError::Unprocessable(format!("Unexpected kind: {}", if other.is_empty() { "unknown" } else { other }))),
    }
}

fn malformed(text: &str) -> PatchError {
    PatchError::Malformed(text.to_owned())
}

fn unprocessable(operation: &str, path: &Pointer) -> PatchError {
    PatchError::Unprocessable(format!("{operation} operation does not apply: doc is missing path: \"{path}\": missing value"))
}

/// How large a tree is.
#[derive(Clone, Copy, Default)]
struct Measure {
    /// Values in it.
    values: usize,
    /// About the bytes of its text.
    bytes: usize,
    /// Levels of nesting.
    depth: usize,
}

impl Measure {
    fn of(value: &Value) -> Self {
        let all = |parts: &mut dyn Iterator<Item = (usize, Self)>| {
            parts.fold(Self { values: 1, bytes: 2, depth: 1 }, |all, (name, part)| Self {
                values: all.values + part.values,
                bytes: all.bytes + name + part.bytes + 1,
                depth: all.depth.max(part.depth + 1),
            })
        };
        match value {
            Value::List(items) => all(&mut items.iter().map(|item| (0, Self::of(item)))),
            Value::Map(map) => all(&mut map.iter().map(|(name, value)| (name.len() + 3, Self::of(value)))),
            Value::String(text) => Self { values: 1, bytes: text.len() + 2, depth: 0 },
            Value::Json(text) => Self { values: 1, bytes: text.text_len(), depth: 0 },
            _ => Self { values: 1, bytes: 8, depth: 0 },
        }
    }
}

/// A JSON pointer (RFC 6901).
#[derive(PartialEq)]
struct Pointer(Vec<String>);

impl Pointer {
    fn of(operation: &Value, field: &str) -> Result<Self> {
        let missing = |why: &str| PatchError::Unprocessable(format!("{} operation does not apply: {why}", operation.str_at(&["op"])));
        let text =
            operation.get(field).and_then(Value::as_str).ok_or_else(|| missing(&format!("operation has no {field}: missing value")))?;
        match text.strip_prefix('/') {
            Some(rest) => Ok(Self(rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~")).collect())),
            None if text.is_empty() => Ok(Self(Vec::new())),
            None => Err(missing(&format!("doc is missing {field}: {text:?}: missing value"))),
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

/// The place in a list of this length; negative ones count from its end.
fn index(token: &str, len: usize) -> Option<usize> {
    let index: i64 = token.parse().ok()?;
    let at = if index < 0 { len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?) } else { usize::try_from(index).ok() };
    at.filter(|at| *at < len)
}

fn add(document: &mut Value, path: &Pointer, value: Value, operation: &str, work: &mut Work) -> Result<()> {
    let Some((last, parents)) = path.0.split_last() else {
        *document = value;
        return Ok(());
    };
    match descend(document, parents) {
        Some(Value::Map(map)) => {
            work.moves(map.len())?;
            map.insert(Str::from(last), value);
            Ok(())
        }
        Some(Value::List(items)) => {
            let at = if last == "-" { Some(items.len()) } else { index(last, items.len() + 1) };
            let at = at.ok_or_else(|| unprocessable(operation, path))?;
            work.moves(items.len() - at)?;
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

fn remove(document: &mut Value, path: &Pointer, operation: &str, work: &mut Work) -> Result<Value> {
    let Some((last, parents)) = path.0.split_last() else {
        return Ok(std::mem::replace(document, Value::Map(Map::new())));
    };
    let removed = match descend(document, parents) {
        Some(Value::Map(map)) => {
            work.moves(map.len())?;
            map.remove(last)
        }
        Some(Value::List(items)) => match index(last, items.len()) {
            Some(at) => {
                work.moves(items.len() - at)?;
                Some(items.remove(at))
            }
            None => None,
        },
        _ => None,
    };
    removed.ok_or_else(|| unprocessable(operation, path))
}
