//! The place in a template's tokens while it is parsed.

use std::rc::Rc;

use super::{
    budget::{Failure, Outcome},
    lexer::Token,
};

/// Tags, parentheses and operators inside of each other.
const NESTING: usize = 120;

/// A cursor over the tokens of a template.
pub(super) struct Parser {
    pub(super) tokens: Vec<(usize, Token)>,
    pub(super) at: usize,
    pub(super) depth: usize,
    /// Loops around this place that `break` can leave.
    pub(super) loops: usize,
}

impl Parser {
    pub(super) fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(line, _)| *line)
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    pub(super) fn peek_second(&self) -> Option<&Token> {
        self.tokens.get(self.at + 1).map(|(_, token)| token)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    pub(super) fn is(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Token::Operator(other)) if *other == operator)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(other)) if **other == *name)
    }

    pub(super) fn take(&mut self, operator: &str) -> bool {
        let found = self.is(operator);
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.at += usize::from(found);
        found
    }

    pub(super) fn failed<T>(&self, message: impl Into<String>) -> Outcome<T> {
        Err(Failure::new(message).at(self.line()))
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Outcome<T> {
        let found = match self.peek() {
            None => "the end of the template".to_string(),
            Some(Token::Text(_)) => "text".into(),
            Some(Token::VariableBegin) => "`{{`".into(),
            Some(Token::VariableEnd) => "`}}`".into(),
            Some(Token::BlockBegin) => "`{%`".into(),
            Some(Token::BlockEnd) => "`%}`".into(),
            Some(Token::Name(name)) => format!("`{name}`"),
            Some(Token::Str(text)) => format!("{text:?}"),
            Some(Token::Int(value)) => value.to_string(),
            Some(Token::Float(value)) => value.to_string(),
            Some(Token::Operator(operator)) => format!("`{operator}`"),
        };
        self.failed(format!("unexpected {found}, expected {wanted}"))
    }

    pub(super) fn expect(&mut self, operator: &str) -> Outcome<()> {
        if self.take(operator) { Ok(()) } else { self.unexpected(&format!("`{operator}`")) }
    }

    pub(super) fn name(&mut self) -> Outcome<Rc<str>> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    pub(super) fn expect_token(&mut self, token: &Token, wanted: &str) -> Outcome<()> {
        if self.peek() == Some(token) {
            self.at += 1;
            return Ok(());
        }
        self.unexpected(wanted)
    }

    pub(super) fn block_end(&mut self) -> Outcome<()> {
        self.expect_token(&Token::BlockEnd, "`%}`")
    }

    /// Parses one level deeper.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        if self.depth >= NESTING {
            return self.failed(format!("tags and parentheses are nested more than {NESTING} times"));
        }
        self.depth += 1;
        let outcome = inner(self);
        self.depth -= 1;
        outcome
    }
}
