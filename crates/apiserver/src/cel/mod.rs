//! CEL, the language of rules in admission policies, webhooks' match conditions, custom kinds and device selectors.
//!
//! [`check`] parses an expression and finds its type in an [`Environment`]; it refuses what the reference's compiler refuses,
//! with its words and places: what is no expression, names that nobody declared, fields that a type does not have, operators
//! and functions applied to what they are not for. Evaluating is not done yet; it will
//! start from the tree in [`ast`].
//!
//! The language is public (`github.com/google/cel-spec`). Parser and checker are ours: the parsers on crates.io are generated
//! by ANTLR, whose runtime costs half a minute of building, and have no checker.

mod ast;
mod checker;
mod environments;
mod functions;
mod lexer;
mod parser;
mod patterns;
#[cfg(test)]
mod tests;
mod types;

pub use environments::{Environment, admission, devices, schema_type};
pub use patterns::{pattern, wrong_pattern};
pub use types::Type;

/// The longest expression, in characters.
const LONGEST: usize = 100_000;
/// The most issues that are told.
const MOST_ISSUES: usize = 100;
/// The bytes of a line that are shown at most, as in the reference: a longer line is not shown.
const LONGEST_LINE: usize = 16_384;
/// The bytes of issues after which no more are told: each may show a long line.
const LONGEST_TOLD: usize = 128 << 10;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Issue {
    /// The character, counted from 0.
    at: usize,
    words: String,
}

/// Why an expression was refused. Shown as the reference's compiler shows it, every issue with its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compilation failed: {0}")]
pub struct Refused(String);

impl Refused {
    fn new(source: &str, mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| issue.at);
        let mut all: Vec<String> = Vec::new();
        let mut told = 0;
        for issue in issues.iter().take(MOST_ISSUES) {
            if told > LONGEST_TOLD {
                break;
            }
            let shown = show(source, issue);
            told += shown.len();
            all.push(shown);
        }
        let more = issues.len() - all.len();
        if more > 0 {
            all.push(format!("{more} more errors were truncated"));
        }
        Self(all.join("\n"))
    }
}

/// `ERROR: <input>:1:5: words`, the line, and a mark below the place.
fn show(source: &str, issue: &Issue) -> String {
    let before: String = source.chars().take(issue.at).collect();
    let line = before.matches('\n').count();
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    let text = source.split('\n').nth(line).unwrap_or_default();
    let mut shown = format!("ERROR: <input>:{}:{}: {}", line + 1, column + 1, issue.words);
    if !text.is_empty() && text.len() <= LONGEST_LINE {
        shown.push_str(&format!("\n | {}\n | {}^", text.replace('\t', " "), ".".repeat(column)));
    }
    shown
}

/// An expression that was accepted.
#[derive(Debug)]
pub struct Checked {
    /// The type of its value.
    pub result: Type,
    /// The variables of the environment that it uses.
    pub uses: Vec<String>,
}

/// Parses and checks an expression.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn check(expression: &str, environment: &Environment) -> Result<Checked, Refused> {
    let refused = |issues| Refused::new(expression, issues);
    let length = expression.chars().count();
    if length > LONGEST {
        let words = format!("expression code point size exceeds limit: size: {length}, limit {LONGEST}");
        return Err(Refused(format!("ERROR: <input>:-1:0: {words}")));
    }
    let expr = parser::parse(expression).map_err(refused)?;
    let (result, uses) = checker::check(&expr, environment).map_err(refused)?;
    Ok(Checked { result, uses })
}
