//! Sets of indexes as text: `0,3-5,7`.

/// The intervals of a text, in ascending order, below `completions`.
///
/// # Errors
///
/// In the reference's words.
pub(super) fn parse(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    if text.is_empty() {
        return Ok(found);
    }
    for part in text.split(',') {
        let (low, high) = interval(part, completions)?;
        if let Some((_, last)) = found.last().filter(|(_, last)| *last >= low) {
            return Err(format!("non-increasing order, previous: {last}, current: {low}"));
        }
        found.push((low, high));
    }
    Ok(found)
}

/// The intervals of a text that are some, whatever the rest of it is.
pub(super) fn intervals(text: &str, completions: i64) -> Vec<(i64, i64)> {
    text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
}

/// How many indexes a text names.
///
/// # Errors
///
/// As [`parse`].
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    Ok(parse(text, completions)?.iter().map(|(low, high)| high - low + 1).sum())
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let mut limits = part.split('-');
    let (low, high, more) = (limits.next().unwrap_or_default(), limits.next(), limits.next());
    if more.is_some() {
        return Err(format!(
            "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let low = index(low, completions)?;
    let Some(high) = high else { return Ok((low, low)) };
    let high = index(high, completions)?;
    if low >= high { Err(format!("non-increasing order, previous: {low}, current: {high}")) } else { Ok((low, high)) }
}

fn index(text: &str, completions: i64) -> Result<i64, String> {
    let index: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    if index >= completions { Err(format!("too large index: {text:?}")) } else { Ok(index) }
}

/// The first index that is in both sets.
pub(super) fn overlap(one: &[(i64, i64)], other: &[(i64, i64)]) -> Option<i64> {
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        if a.0 <= b.1 && b.0 <= a.1 {
            return Some(a.0.max(b.0));
        }
        if a.0 <= b.0 {
            left.next()
        } else {
            right.next()
        };
    }
    None
}
