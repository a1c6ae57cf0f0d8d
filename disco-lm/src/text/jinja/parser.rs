//! Statements of a template: methods of [`Parser`].

use std::rc::Rc;

use super::{
    ast::{Action, Arguments, Body, Expr, For, Kind, Macro, Statement, Target},
    budget::{Failure, Outcome},
    cursor::Parser,
    lexer::{Token, tokens},
};

/// The statements of a template.
pub(super) fn parse(source: &str) -> Outcome<Body> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, depth: 0, loops: 0 };
    let line = |parser: &Parser| parser.line();
    let (body, end) = parser.body(&[]).map_err(|error| error.at(line(&parser)))?;
    match end {
        None => Ok(body),
        Some(tag) => Err(Failure::new(format!("unexpected tag `{tag}`")).at(parser.line())),
    }
}

impl Parser {
    /// Statements up to a tag whose name is among `ends`, which is read up to its name, or to the end of the template.
    fn body(&mut self, ends: &[&str]) -> Outcome<(Body, Option<Rc<str>>)> {
        let mut body = Body::new();
        loop {
            let line = self.line();
            match self.next() {
                None if ends.is_empty() => return Ok((body, None)),
                None => return self.failed(format!("the template ends before `{}`", ends.join("` or `"))),
                Some(Token::Text(text)) => body.push(Statement { line, kind: Action::Text(text) }),
                Some(Token::VariableBegin) => {
                    let value = self.tuple_or_expression()?;
                    self.expect_token(&Token::VariableEnd, "`}}`")?;
                    body.push(Statement { line, kind: Action::Print(value) });
                }
                Some(_) => {
                    let name = self.name()?;
                    if ends.contains(&&*name) {
                        return Ok((body, Some(name)));
                    }
                    let kind = self.deeper(|parser| parser.statement(&name))?;
                    body.push(Statement { line, kind });
                }
            }
        }
    }

    /// The body of a tag, and the end of its end tag.
    fn body_to(&mut self, end: &str) -> Outcome<Body> {
        self.block_end()?;
        let (body, _) = self.body(&[end])?;
        self.block_end()?;
        Ok(body)
    }

    fn statement(&mut self, name: &str) -> Outcome<Action> {
        match name {
            "if" => self.conditional(),
            "for" => self.for_loop(),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => {
                let name = self.name()?;
                let parameters = self.parameters()?;
                Ok(Action::Macro(self.macro_body(name, parameters, "endmacro")?))
            }
            "call" => {
                let parameters = if self.is("(") { self.parameters()? } else { Vec::new() };
                let call = self.expression()?;
                if !matches!(call.kind, Kind::Call(..)) {
                    return self.failed("`{% call %}` needs a call");
                }
                Ok(Action::Call(self.macro_body("caller".into(), parameters, "endcall")?, call))
            }
            "filter" => {
                let block = Expr { line: self.line(), kind: Kind::Block };
                let filters = self.filters(block, true)?;
                Ok(Action::Filter(self.outside_of_loops(|parser| parser.body_to("endfilter"))?, filters))
            }
            "generation" => {
                Ok(Action::Generation(self.outside_of_loops(|parser| parser.body_to("endgeneration"))?))
            }
            "print" => {
                let value = self.tuple_or_expression()?;
                self.block_end()?;
                Ok(Action::Print(value))
            }
            "break" | "continue" if self.loops == 0 => self.failed(format!("`{name}` stands outside of a loop")),
            "break" => self.block_end().map(|()| Action::Break),
            "continue" => self.block_end().map(|()| Action::Continue),
            _ => self.failed(format!(
                "the tag `{name}` is not known; allowed: if, for, set, with, macro, call, filter, generation, print, \
                 break, continue, raw"
            )),
        }
    }

    fn macro_body(
        &mut self,
        name: Rc<str>,
        parameters: Vec<(Rc<str>, Option<Expr>)>,
        end: &str,
    ) -> Outcome<Macro> {
        let start = self.at;
        let body = self.outside_of_loops(|parser| parser.body_to(end))?;
        let names = |wanted: &str| {
            let is_it = |token: &(usize, Token)| matches!(&token.1, Token::Name(name) if **name == *wanted);
            self.tokens[start..self.at].iter().any(is_it)
        };
        let uses = ["varargs", "kwargs", "caller"].map(names);
        Ok(Macro { name, parameters, body, uses })
    }

    /// Parses a body that a loop around it cannot be left from.
    fn outside_of_loops<T>(&mut self, inner: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        let loops = std::mem::take(&mut self.loops);
        let outcome = inner(self);
        self.loops = loops;
        outcome
    }

    fn conditional(&mut self) -> Outcome<Action> {
        let mut branches = Vec::new();
        let mut condition = Some(self.tuple_or_single(false)?);
        loop {
            self.block_end()?;
            let ends: &[&str] = if condition.is_some() { &["elif", "else", "endif"] } else { &["endif"] };
            let (body, end) = self.body(ends)?;
            branches.push((condition, body));
            match end.as_deref() {
                Some("elif") => condition = Some(self.tuple_or_single(false)?),
                Some("else") => condition = None,
                _ => break,
            }
        }
        self.block_end()?;
        Ok(Action::If(branches))
    }

    fn for_loop(&mut self) -> Outcome<Action> {
        let target = self.targets(false)?;
        if !self.take_name("in") {
            return self.unexpected("`in`");
        }
        let values = self.tuple_or_single(false)?;
        let condition = if self.take_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.take_name("recursive");
        self.block_end()?;
        self.loops += 1;
        let (body, end) = self.body(&["endfor", "else"])?;
        self.loops -= 1;
        let otherwise = match end.as_deref() {
            Some("else") => self.body_to("endfor")?,
            _ => {
                self.block_end()?;
                Body::new()
            }
        };
        Ok(Action::For(For { target, values, condition, body, otherwise, recursive }))
    }

    fn set(&mut self) -> Outcome<Action> {
        let target = self.targets(true)?;
        if self.take("=") {
            let value = self.tuple_or_expression()?;
            self.block_end()?;
            return Ok(Action::Set(target, value));
        }
        let block = Expr { line: self.line(), kind: Kind::Block };
        let filters = self.filters(block, false)?;
        let body = self.outside_of_loops(|parser| parser.body_to("endset"))?;
        Ok(Action::SetBlock(target, body, filters))
    }

    fn with(&mut self) -> Outcome<Action> {
        let mut values = Vec::new();
        while self.peek() != Some(&Token::BlockEnd) {
            if !values.is_empty() {
                self.expect(",")?;
            }
            let target = self.target(false)?;
            self.expect("=")?;
            values.push((target, self.expression()?));
        }
        Ok(Action::With(values, self.body_to("endwith")?))
    }

    /// One target, or several with commas between them.
    fn targets(&mut self, attributes: bool) -> Outcome<Target> {
        let first = self.target(attributes)?;
        if !self.is(",") {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.take(",") {
            if self.is_name("in") || self.is("=") || self.is(")") {
                break;
            }
            targets.push(self.target(attributes)?);
        }
        Ok(Target::Tuple(targets))
    }

    fn target(&mut self, attributes: bool) -> Outcome<Target> {
        if self.take("(") {
            let inner = self.deeper(|parser| parser.targets(attributes))?;
            self.expect(")")?;
            return Ok(inner);
        }
        let name = self.name()?;
        if attributes && self.take(".") {
            return Ok(Target::Attribute(name, self.name()?));
        }
        if ["true", "false", "none", "True", "False", "None"].contains(&&*name) {
            return self.failed(format!("`{name}` cannot be assigned to"));
        }
        Ok(Target::Name(name))
    }

    fn parameters(&mut self) -> Outcome<Vec<(Rc<str>, Option<Expr>)>> {
        self.expect("(")?;
        let mut parameters: Vec<(Rc<str>, Option<Expr>)> = Vec::new();
        while !self.take(")") {
            if !parameters.is_empty() {
                self.expect(",")?;
            }
            let name = self.name()?;
            let default = if self.take("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return self.failed("a parameter without a default follows one with a default");
            }
            parameters.push((name, default));
        }
        Ok(parameters)
    }

    /// The arguments of a call, after its `(`.
    pub(super) fn arguments(&mut self) -> Outcome<Arguments> {
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.take(")") {
            if !first {
                self.expect(",")?;
                if self.take(")") {
                    break;
                }
            }
            first = false;
            let named = matches!(self.peek(), Some(Token::Name(_)))
                && matches!(self.peek_second(), Some(Token::Operator("=")));
            if self.take("*") {
                arguments.spread = Some(self.expression()?.into());
            } else if self.take("**") {
                arguments.spread_named = Some(self.expression()?.into());
            } else if named {
                let name = self.name()?;
                self.expect("=")?;
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() && arguments.spread.is_none() {
                arguments.positional.push(self.expression()?);
            } else {
                return self.failed("an argument without a name follows one with a name");
            }
        }
        Ok(arguments)
    }
}
