//! Tokens of expressions.

use super::Issue;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// `+`, `&&`, `in`, …: the text says which.
    Sign,
    Ident,
    /// A name in backquotes, as a field.
    Quoted,
    Int,
    Uint,
    Float,
    String,
    Bytes,
    /// `true`, `false`, `null`.
    Word,
    End,
}

/// A token, where it is, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) at: usize,
    pub(super) token: Token,
    pub(super) text: String,
}

const SIGNS: [&str; 24] =
    ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*", "/", "%"];

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

/// The tokens of a text (the last one is its end), and what is no token.
pub(super) fn tokens(source: &str) -> (Vec<Piece>, Vec<Issue>) {
    let chars: Vec<char> = source.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let (mut found, mut issues) = (Vec::new(), Vec::new());
    while let Some(first) = lexer.peek(0) {
        let at = lexer.at;
        if first.is_ascii_whitespace() {
            lexer.at += 1;
            continue;
        }
        if lexer.starts("//") {
            lexer.skip(|c| c != '\n');
            continue;
        }
        match lexer.one(first) {
            Some(token) => found.push(Piece { at, token, text: lexer.text(at) }),
            None => {
                let words = format!("Syntax error: token recognition error at: '{}'", lexer.text(at).replace('\n', "\\n"));
                issues.push(Issue { at, words });
            }
        }
    }
    found.push(Piece { at: chars.len(), token: Token::End, text: "<EOF>".to_owned() });
    (found, issues)
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn starts(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    fn text(&self, from: usize) -> String {
        self.chars.get(from..self.at.min(self.chars.len())).unwrap_or_default().iter().collect()
    }

    fn skip(&mut self, while_true: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&while_true) {
            self.at += 1;
        }
    }

    /// Takes one token; none when there is none, having taken what is wrong.
    fn one(&mut self, first: char) -> Option<Token> {
        if let Some(token) = self.string() {
            return token;
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let from = self.at;
            self.skip(|c| c.is_ascii_alphanumeric() || c == '_');
            return Some(match self.text(from).as_str() {
                "true" | "false" | "null" => Token::Word,
                "in" => Token::Sign,
                _ => Token::Ident,
            });
        }
        if first == '`' {
            self.at += 1;
            self.skip(|c| c.is_ascii_alphanumeric() || "_.-/ ".contains(c));
            let closed = self.peek(0) == Some('`');
            self.at += usize::from(self.peek(0).is_some());
            return closed.then_some(Token::Quoted);
        }
        if first.is_ascii_digit() || (first == '.' && self.peek(1).is_some_and(|c| c.is_ascii_digit())) {
            return Some(self.number());
        }
        if let Some(sign) = SIGNS.iter().find(|sign| self.starts(sign)) {
            self.at += sign.len();
            return Some(Token::Sign);
        }
        self.at += if "=&|".contains(first) { 2 } else { 1 };
        None
    }

    fn number(&mut self) -> Token {
        let digit = |c: char| c.is_ascii_digit();
        let mut token = Token::Int;
        if self.starts("0x") && self.peek(2).is_some_and(|c| c.is_ascii_hexdigit()) {
            self.at += 2;
            self.skip(|c| c.is_ascii_hexdigit());
        } else {
            self.skip(digit);
            if self.peek(0) == Some('.') && self.peek(1).is_some_and(digit) {
                self.at += 1;
                self.skip(digit);
                token = Token::Float;
            }
            let signed = usize::from(self.peek(1).is_some_and(|c| "+-".contains(c)));
            if self.peek(0).is_some_and(|c| "eE".contains(c)) && self.peek(1 + signed).is_some_and(digit) {
                self.at += 1 + signed;
                self.skip(digit);
                token = Token::Float;
            }
        }
        if token == Token::Int && self.peek(0).is_some_and(|c| "uU".contains(c)) {
            self.at += 1;
            token = Token::Uint;
        }
        token
    }

    /// Texts: `"a"`, `'a'`, `"""a"""`, raw ones after `r`, bytes after `b`. `Some(None)` is one that is wrong.
    fn string(&mut self) -> Option<Option<Token>> {
        let (mut ahead, mut raw, mut bytes) = (0, false, false);
        while let Some(c) = self.peek(ahead).filter(|_| ahead < 2) {
            match c {
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes => bytes = true,
                _ => break,
            }
            ahead += 1;
        }
        let quote = self.peek(ahead).filter(|c| "\"'".contains(*c))?;
        self.at += ahead;
        let long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let width = if long { 3 } else { 1 };
        self.at += width;
        loop {
            match self.peek(0) {
                None => return Some(None),
                Some(c) if c == quote && (0..width).all(|ahead| self.peek(ahead) == Some(quote)) => {
                    self.at += width;
                    return Some(Some(if bytes { Token::Bytes } else { Token::String }));
                }
                Some('\n' | '\r') if !long => {
                    self.at += 1;
                    return Some(None);
                }
                Some('\\') if !raw => {
                    let known = self.peek(1).is_some_and(|c| "abfnrtv\\\"'`?xXuU01234567".contains(c));
                    self.at += 2;
                    if !known {
                        return Some(None);
                    }
                }
                Some(_) => self.at += 1,
            }
        }
    }
}
