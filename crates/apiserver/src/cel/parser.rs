//! From tokens to an expression. Errors have the words of the reference's parser, which is generated; it goes on after an
//! error, ours stops at the first.

use super::Issue;
use super::ast::{Expr, Item, Kind};
use super::lexer::{Piece, Token, tokens};
use super::types::Type;

/// The deepest tree.
const DEEPEST: usize = 250;
/// The deepest nesting of brackets, each of which takes several calls.
const MOST_NESTED: usize = 64;

const OPERAND: &str = "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER";
const COMPARING: &str = "'==', '!=', 'in', '<', '<=', '>=', '>', '&&', '||', '['";

/// Macros that go through a range: name, how many variables, how many arguments.
const MACROS: [(&str, usize, usize); 13] = [
    ("all", 1, 1),
    ("exists", 1, 1),
    ("exists_one", 1, 1),
    ("existsOne", 1, 1),
    ("map", 1, 1),
    ("map", 1, 2),
    ("filter", 1, 1),
    ("all", 2, 1),
    ("exists", 2, 1),
    ("existsOne", 2, 1),
    ("transformList", 2, 1),
    ("transformMap", 2, 1),
    ("sortBy", 1, 1),
];

struct Parser {
    pieces: Vec<Piece>,
    next: usize,
    depth: usize,
}

type Parsed<T> = Result<T, Issue>;

/// The expression in a text.
pub(super) fn parse(source: &str) -> Result<Expr, Vec<Issue>> {
    let (pieces, mut issues) = tokens(source);
    let mut parser = Parser { pieces, next: 0, depth: 0 };
    match parser.whole() {
        Ok(expr) if issues.is_empty() => Ok(expr),
        Ok(_) => Err(issues),
        Err(issue) => {
            issues.push(issue);
            Err(issues)
        }
    }
}

/// How tightly an operator binds, and its name as a function.
fn binary(sign: &str) -> Option<(u8, &'static str)> {
    Some(match sign {
        "||" => (1, "_||_"),
        "&&" => (2, "_&&_"),
        "==" => (3, "_==_"),
        "!=" => (3, "_!=_"),
        "<" => (3, "_<_"),
        "<=" => (3, "_<=_"),
        ">" => (3, "_>_"),
        ">=" => (3, "_>=_"),
        "in" => (3, "@in"),
        "+" => (4, "_+_"),
        "-" => (4, "_-_"),
        "*" => (5, "_*_"),
        "/" => (5, "_/_"),
        "%" => (5, "_%_"),
        _ => return None,
    })
}

fn starts_operand(piece: &Piece) -> bool {
    match piece.token {
        Token::Sign => matches!(piece.text.as_str(), "[" | "{" | "(" | "." | "-" | "!"),
        Token::Quoted | Token::End => false,
        _ => true,
    }
}

fn too_deep(at: usize, limit: usize) -> Issue {
    Issue { at, words: format!("expression recursion limit exceeded: {limit}") }
}

fn bounded(expr: Expr) -> Parsed<Expr> {
    if expr.depth <= DEEPEST { Ok(expr) } else { Err(too_deep(expr.at, DEEPEST)) }
}

impl Parser {
    fn piece(&self, ahead: usize) -> &Piece {
        static LAST: Piece = Piece { at: 0, token: Token::End, text: String::new() };
        self.pieces.get(self.next + ahead).or(self.pieces.last()).unwrap_or(&LAST)
    }

    fn is(&self, sign: &str) -> bool {
        let piece = self.piece(0);
        piece.token == Token::Sign && piece.text == sign
    }

    fn take(&mut self, sign: &str) -> Option<usize> {
        let at = self.piece(0).at;
        self.is(sign).then(|| {
            self.next += 1;
            at
        })
    }

    fn error(&self, verb: &str, expecting: &str) -> Issue {
        let piece = self.piece(0);
        Issue { at: piece.at, words: format!("Syntax error: {verb} input '{}' expecting {expecting}", piece.text) }
    }

    fn missing(&self, sign: &str) -> Issue {
        let piece = self.piece(0);
        Issue { at: piece.at, words: format!("Syntax error: missing '{sign}' at '{}'", piece.text) }
    }

    /// A closing sign that must come now.
    fn close(&mut self, sign: &str, more: &str) -> Parsed<()> {
        if self.take(sign).is_some() {
            return Ok(());
        }
        let next = self.piece(1);
        if self.piece(0).token == Token::End {
            return Err(self.missing(sign));
        }
        if next.token == Token::Sign && next.text == sign {
            return Err(self.error("extraneous", &format!("'{sign}'")));
        }
        Err(self.error("mismatched", &format!("{{{COMPARING}, '{sign}', '.', {more}'-', '?', '+', '*', '/', '%'}}")))
    }

    fn whole(&mut self) -> Parsed<Expr> {
        let expr = self.expr()?;
        if self.piece(0).token == Token::End {
            return Ok(expr);
        }
        if self.piece(1).token == Token::End {
            return Err(self.error("extraneous", "<EOF>"));
        }
        Err(self.error("mismatched", &format!("{{<EOF>, {COMPARING}, '.', '-', '?', '+', '*', '/', '%'}}")))
    }

    fn expr(&mut self) -> Parsed<Expr> {
        self.depth += 1;
        if self.depth > MOST_NESTED {
            return Err(too_deep(self.piece(0).at, MOST_NESTED));
        }
        let condition = self.operators(1)?;
        let expr = match self.take("?") {
            None => condition,
            Some(at) => {
                let then = self.operators(1)?;
                if self.take(":").is_none() {
                    return Err(if starts_operand(self.piece(0)) {
                        self.missing(":")
                    } else {
                        self.error("mismatched", &format!("{{{COMPARING}, '.', '-', ':', '+', '*', '/', '%'}}"))
                    });
                }
                let otherwise = self.expr()?;
                Expr::new(at, Kind::Call { name: "_?_:_".to_owned(), target: None, args: vec![condition, then, otherwise] })
            }
        };
        self.depth -= 1;
        bounded(expr)
    }

    fn operators(&mut self, least: u8) -> Parsed<Expr> {
        let mut left = self.unary()?;
        // Long conjunctions stay flat.
        let mut built = "";
        loop {
            let piece = self.piece(0);
            let (at, Some((tightness, name))) = (piece.at, binary(&piece.text).filter(|_| piece.token == Token::Sign)) else {
                return Ok(left);
            };
            if tightness < least {
                return Ok(left);
            }
            self.next += 1;
            let right = self.operators(tightness + 1)?;
            left = match left.kind {
                Kind::Call { name: same, target: None, mut args } if built == name && tightness <= 2 => {
                    args.push(right);
                    let depth = left.depth.max(1 + args.last().map_or(0, |last| last.depth));
                    Expr { at, depth, kind: Kind::Call { name: same, target: None, args } }
                }
                kind => {
                    let left = Expr { kind, ..left };
                    Expr::new(at, Kind::Call { name: name.to_owned(), target: None, args: vec![left, right] })
                }
            };
            built = name;
            left = bounded(left)?;
        }
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let mut signs = Vec::new();
        while self.is("!") || self.is("-") {
            signs.push(self.piece(0).clone());
            self.next += 1;
            if signs.len() > DEEPEST {
                return Err(too_deep(self.piece(0).at, DEEPEST));
            }
        }
        let mut expr = self.member()?;
        for sign in signs.into_iter().rev() {
            let name = if sign.text == "!" { "!_" } else { "-_" };
            expr = match expr.kind {
                Kind::Literal(kind @ (Type::Int | Type::Double), text) if name == "-_" && !text.starts_with('-') => {
                    Expr::new(sign.at, Kind::Literal(kind, format!("-{text}")))
                }
                kind => Expr::new(sign.at, Kind::Call { name: name.to_owned(), target: None, args: vec![Expr { kind, ..expr }] }),
            };
        }
        fits(&expr)?;
        bounded(expr)
    }

    fn member(&mut self) -> Parsed<Expr> {
        let mut expr = self.primary()?;
        loop {
            expr = if let Some(at) = self.take(".") {
                self.selected(at, expr)?
            } else if let Some(at) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expr()?;
                self.close("]", "")?;
                let name = if optional { "_[?_]" } else { "_[_]" };
                Expr::new(at, Kind::Call { name: name.to_owned(), target: None, args: vec![expr, index] })
            } else {
                return Ok(expr);
            };
            expr = bounded(expr)?;
        }
    }

    fn selected(&mut self, at: usize, operand: Expr) -> Parsed<Expr> {
        let optional = self.take("?").is_some();
        let piece = self.piece(0).clone();
        if !matches!(piece.token, Token::Ident | Token::Quoted) {
            let shown = if piece.token == Token::End { String::new() } else { piece.text };
            return Err(Issue { at: piece.at, words: format!("Syntax error: no viable alternative at input '.{shown}'") });
        }
        self.next += 1;
        let name = piece.text.trim_matches('`').to_owned();
        let callable = piece.token == Token::Ident && !optional;
        match self.is("(").then(|| self.piece(0).at).filter(|_| callable) {
            Some(open) => {
                self.next += 1;
                let args = self.arguments()?;
                called_on(open, operand, name, args)
            }
            None => Ok(Expr::new(at, Kind::Select { operand: Box::new(operand), field: name, optional })),
        }
    }

    /// What is between parentheses; the opening one is taken.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")").is_some() {
            return Ok(args);
        }
        if !starts_operand(self.piece(0)) {
            let verb = if starts_operand(self.piece(1)) || self.piece(1).text == ")" { "extraneous" } else { "mismatched" };
            return Err(self.error(verb, &format!("{{{}}}", OPERAND.replace("'(', ", "'(', ')', "))));
        }
        loop {
            args.push(self.expr()?);
            if self.take(",").is_none() {
                self.close(")", "',', ")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let piece = self.piece(0).clone();
        if !starts_operand(&piece) {
            let verb = if starts_operand(self.piece(1)) && piece.token != Token::End { "extraneous" } else { "mismatched" };
            return Err(self.error(verb, &format!("{{{OPERAND}}}")));
        }
        self.next += 1;
        let literal = |kind| Ok(Expr::new(piece.at, Kind::Literal(kind, piece.text.clone())));
        match piece.token {
            Token::Int => literal(Type::Int),
            Token::Uint => literal(Type::Uint),
            Token::Float => literal(Type::Double),
            Token::String => literal(Type::String),
            Token::Bytes => literal(Type::Bytes),
            Token::Word if piece.text == "null" => literal(Type::Null),
            Token::Word => literal(Type::Bool),
            Token::Ident => self.named(piece.at, piece.text),
            _ => match piece.text.as_str() {
                "(" => {
                    let expr = self.expr()?;
                    self.close(")", "")?;
                    Ok(expr)
                }
                "[" => self.list(piece.at),
                "{" => self.map(piece.at),
                _ => {
                    let name = self.piece(0).clone();
                    if name.token != Token::Ident {
                        return Err(self.error("mismatched", "IDENTIFIER"));
                    }
                    self.next += 1;
                    self.named(name.at, name.text)
                }
            },
        }
    }

    /// What a name begins: itself, a function's call, or `pkg.Name{…}`.
    fn named(&mut self, at: usize, name: String) -> Parsed<Expr> {
        if let Some(open) = self.take("(") {
            let args = self.arguments()?;
            return called(open, name, args);
        }
        let mut ahead = 0;
        let mut whole = name.clone();
        while self.piece(ahead).text == "." && self.piece(ahead + 1).token == Token::Ident {
            whole.push('.');
            whole.push_str(&self.piece(ahead + 1).text);
            ahead += 2;
        }
        if self.piece(ahead).text != "{" || self.piece(ahead).token != Token::Sign {
            return Ok(Expr::new(at, Kind::Ident(name)));
        }
        self.next += ahead;
        let open = self.piece(0).at;
        self.next += 1;
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let field = self.piece(0).clone();
            if field.token != Token::Ident {
                return Err(self.error("mismatched", "{'}', '?', IDENTIFIER}"));
            }
            self.next += 1;
            self.colon()?;
            let value = self.expr()?;
            fields.push((field.text, Item { optional, value }));
            if self.take(",").is_none() && !self.is("}") {
                return Err(self.ending("}"));
            }
        }
        Ok(Expr::new(open, Kind::Struct(whole, fields)))
    }

    fn colon(&mut self) -> Parsed<()> {
        if self.take(":").is_some() { Ok(()) } else { Err(self.missing(":")) }
    }

    /// The error about what is neither a comma nor the end.
    fn ending(&self, sign: &str) -> Issue {
        let verb = if self.piece(1).text == sign { "extraneous" } else { "mismatched" };
        self.error(verb, &format!("{{'{sign}', ','}}"))
    }

    fn list(&mut self, at: usize) -> Parsed<Expr> {
        let mut items = Vec::new();
        let mut comma = false;
        if self.is(",") && self.piece(1).text == "]" {
            self.next += 1;
        }
        while self.take("]").is_none() {
            if comma && self.piece(0).token == Token::End {
                return Err(self.missing("]"));
            }
            let optional = self.take("?").is_some();
            let value = self.expr()?;
            items.push(Item { optional, value });
            comma = self.take(",").is_some();
            if !comma && !self.is("]") {
                return Err(self.ending("]"));
            }
        }
        Ok(Expr::new(at, Kind::List(items)))
    }

    fn map(&mut self, at: usize) -> Parsed<Expr> {
        let mut entries = Vec::new();
        let mut comma = false;
        while self.take("}").is_none() {
            if comma && self.piece(0).token == Token::End {
                return Err(self.missing("}"));
            }
            let optional = self.take("?").is_some();
            let key = self.expr()?;
            self.colon()?;
            let value = self.expr()?;
            entries.push((key, Item { optional, value }));
            comma = self.take(",").is_some();
            if !comma && !self.is("}") {
                return Err(self.ending("}"));
            }
        }
        Ok(Expr::new(at, Kind::Map(entries)))
    }
}

/// Numbers must fit.
fn fits(expr: &Expr) -> Parsed<()> {
    let Kind::Literal(kind, text) = &expr.kind else { return Ok(()) };
    let digits = text.trim_end_matches(['u', 'U']);
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (digits, radix) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    let (fits, words) = match kind {
        Type::Int => (i64::from_str_radix(&format!("{sign}{digits}"), radix).is_ok(), "invalid int literal"),
        Type::Uint => (u64::from_str_radix(digits, radix).is_ok(), "invalid uint literal"),
        _ => (true, ""),
    };
    if fits { Ok(()) } else { Err(Issue { at: expr.at, words: words.to_owned() }) }
}

/// A function's call; `has` is none.
fn called(at: usize, name: String, mut args: Vec<Expr>) -> Parsed<Expr> {
    if name != "has" || args.len() != 1 {
        return bounded(Expr::new(at, Kind::Call { name, target: None, args }));
    }
    match args.pop() {
        Some(Expr { kind: Kind::Select { operand, field, optional: false }, .. }) => Ok(Expr::new(at, Kind::Has { operand, field })),
        other => Err(Issue { at: other.map_or(at, |expr| expr.at), words: "invalid argument to has() macro".to_owned() }),
    }
}

fn simple(expr: &Expr, words: &str) -> Parsed<String> {
    match &expr.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err(Issue { at: expr.at, words: words.to_owned() }),
    }
}

/// A call on something: a macro or a function.
fn called_on(at: usize, operand: Expr, name: String, args: Vec<Expr>) -> Parsed<Expr> {
    // Two variables only if the second argument is a name too.
    let second = matches!(args.get(1).map(|arg| &arg.kind), Some(Kind::Ident(_)));
    let known =
        MACROS.iter().find(|(word, variables, rest)| *word == name && variables + rest == args.len() && (*variables == 1 || second));
    let is_cel = matches!(&operand.kind, Kind::Ident(word) if word == "cel");
    let (word, count) = match (known, name.as_str(), args.len()) {
        (Some((word, count, _)), ..) => (*word, *count),
        (_, "bind", 3) if is_cel => ("bind", 1),
        (_, "optMap", 2) => ("optMap", 1),
        (_, "optFlatMap", 2) => ("optFlatMap", 1),
        _ => return Ok(Expr::new(at, Kind::Call { name, target: Some(Box::new(operand)), args })),
    };
    let words = match word {
        "bind" => "cel.bind() variable names must be simple identifiers",
        "optMap" => "optMap() variable name must be a simple identifier",
        "optFlatMap" => "optFlatMap() variable name must be a simple identifier",
        _ => "argument must be a simple name",
    };
    let mut args = args.into_iter();
    let mut variables = Vec::new();
    for arg in args.by_ref().take(count) {
        variables.push(simple(&arg, words)?);
    }
    let range = if word == "bind" { args.next().unwrap_or(operand) } else { operand };
    Ok(Expr::new(at, Kind::Macro { name: word, range: Box::new(range), variables, args: args.collect() }))
}
