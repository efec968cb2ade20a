//! Expressions, parsed.

use super::types::Type;

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// The character that errors point to: of an operator, a dot, an opening bracket, or the first.
    pub at: usize,
    /// How deep its tree is.
    pub depth: usize,
    /// What it is.
    pub kind: Kind,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A number, text, … with its type, as written.
    Literal(Type, String),
    /// A name.
    Ident(String),
    /// `operand.field`, `operand.?field`.
    Select {
        /// Of what.
        operand: Box<Expr>,
        /// Which field.
        field: String,
        /// With a question mark.
        optional: bool,
    },
    /// `has(operand.field)`.
    Has {
        /// Of what.
        operand: Box<Expr>,
        /// Which field.
        field: String,
    },
    /// A function or operator.
    Call {
        /// Its name (`size`, `_+_`, `_[_]`).
        name: String,
        /// What it is called on.
        target: Option<Box<Expr>>,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// `[a, ?b]`.
    List(Vec<Item>),
    /// `{k: v, ?o: w}`.
    Map(Vec<(Expr, Item)>),
    /// `Name{field: value}`.
    Struct(String, Vec<(String, Item)>),
    /// `range.all(x, …)` and its like.
    Macro {
        /// Its name.
        name: &'static str,
        /// What is gone through, or bound.
        range: Box<Expr>,
        /// The variables' names.
        variables: Vec<String>,
        /// What is computed with them.
        args: Vec<Expr>,
    },
}

/// An item of a list or map.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Whether it is left out when it is absent.
    pub optional: bool,
    /// Its value.
    pub value: Expr,
}

impl Expr {
    pub(super) fn new(at: usize, kind: Kind) -> Self {
        let depth = 1 + kind.children().map(|child| child.depth).max().unwrap_or_default();
        Self { at, depth, kind }
    }
}

impl Kind {
    fn children(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        match self {
            Self::Literal(..) | Self::Ident(_) => Box::new(std::iter::empty()),
            Self::Select { operand, .. } | Self::Has { operand, .. } => Box::new(std::iter::once(&**operand)),
            Self::Call { target, args, .. } => Box::new(target.as_deref().into_iter().chain(args)),
            Self::List(items) => Box::new(items.iter().map(|item| &item.value)),
            Self::Map(entries) => Box::new(entries.iter().flat_map(|(key, item)| [key, &item.value])),
            Self::Struct(_, fields) => Box::new(fields.iter().map(|(_, item)| &item.value)),
            Self::Macro { range, args, .. } => Box::new(std::iter::once(&**range).chain(args)),
        }
    }
}
