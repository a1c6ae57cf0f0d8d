//! Operands of expressions: literals, names, and the attributes, calls, filters and tests behind them. Methods of [`Parser`].

use std::rc::Rc;

use super::{
    ast::{Arguments, Expr, Kind},
    budget::Outcome,
    cursor::Parser,
    lexer::Token,
    value::Value,
};

impl Parser {
    pub(super) fn unary(&mut self, with_filters: bool) -> Outcome<Expr> {
        let line = self.line();
        let signed = |parser: &mut Self| parser.deeper(|parser| parser.unary(false)).map(Box::new);
        let value = if self.take("-") {
            Expr { line, kind: Kind::Negative(signed(self)?) }
        } else if self.take("+") {
            Expr { line, kind: Kind::Positive(signed(self)?) }
        } else {
            self.primary()?
        };
        let value = self.postfix(value)?;
        if with_filters { self.filters_and_tests(value) } else { Ok(value) }
    }

    fn primary(&mut self) -> Outcome<Expr> {
        let line = self.line();
        let kind = match self.peek().cloned() {
            Some(Token::Name(name)) => {
                self.next();
                match &*name {
                    "true" | "True" => Kind::Constant(Value::Bool(true)),
                    "false" | "False" => Kind::Constant(Value::Bool(false)),
                    "none" | "None" => Kind::Constant(Value::None),
                    _ => Kind::Name(name),
                }
            }
            Some(Token::Str(text)) => {
                self.next();
                let mut whole = text.to_string();
                while let Some(Token::Str(more)) = self.peek() {
                    whole += more;
                    self.next();
                }
                Kind::Constant(Value::Str(whole.into()))
            }
            Some(Token::Int(value)) => {
                self.next();
                Kind::Constant(Value::Int(value))
            }
            Some(Token::Float(value)) => {
                self.next();
                Kind::Constant(Value::Float(value))
            }
            Some(Token::Operator("(")) => {
                self.next();
                if self.take(")") {
                    return Ok(Expr { line, kind: Kind::Tuple(Vec::new()) });
                }
                let inner = self.tuple_or_expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Some(Token::Operator("[")) => {
                self.next();
                Kind::List(self.separated("]", Self::expression)?)
            }
            Some(Token::Operator("{")) => {
                self.next();
                Kind::Dict(self.separated("}", |parser| {
                    let key = parser.expression()?;
                    parser.expect(":")?;
                    Ok((key, parser.expression()?))
                })?)
            }
            _ => return self.unexpected("an expression"),
        };
        Ok(Expr { line, kind })
    }

    /// Elements with commas between them, up to `end`.
    fn separated<T>(&mut self, end: &str, element: impl Fn(&mut Self) -> Outcome<T>) -> Outcome<Vec<T>> {
        let mut elements = Vec::new();
        while !self.take(end) {
            if !elements.is_empty() {
                self.expect(",")?;
                if self.take(end) {
                    break;
                }
            }
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Attributes, items and calls behind a value.
    fn postfix(&mut self, mut value: Expr) -> Outcome<Expr> {
        let mut links = 0;
        loop {
            let line = value.line;
            let kind = if self.take(".") {
                match self.next() {
                    Some(Token::Name(name)) => Kind::Attribute(value.into(), name),
                    Some(Token::Int(index)) => {
                        let index = Expr { line, kind: Kind::Constant(Value::Int(index)) };
                        Kind::Item(value.into(), index.into())
                    }
                    _ => return self.failed("`.` is followed by neither a name nor a number"),
                }
            } else if self.take("[") {
                self.subscript(value)?
            } else if self.take("(") {
                Kind::Call(value.into(), self.arguments()?)
            } else {
                return Ok(value);
            };
            value = self.linked(Expr { line, kind }, &mut links)?;
        }
    }

    /// A value at the end of a chain of attributes, calls or filters, which is as deep as it is long.
    fn linked(&self, value: Expr, links: &mut usize) -> Outcome<Expr> {
        *links += 1;
        if *links > 60 {
            return self.failed("more than 60 attributes, calls or filters follow each other");
        }
        Ok(value)
    }

    fn subscript(&mut self, value: Expr) -> Outcome<Kind> {
        let line = self.line();
        let mut bounds: [Option<Box<Expr>>; 3] = [None, None, None];
        let mut colons = 0;
        while !self.take("]") {
            if self.take(":") {
                colons += 1;
            } else if colons < 3 && bounds[colons].is_none() {
                bounds[colons] = Some(self.expression()?.into());
            } else {
                return self.unexpected("`]`");
            }
            if colons > 2 {
                return self.unexpected("`]`");
            }
            if colons == 0 && self.is(",") {
                let first = bounds[0].take();
                self.next();
                let mut elements: Vec<Expr> = first.map(|first| *first).into_iter().collect();
                elements.extend(self.separated("]", Self::expression)?);
                return Ok(Kind::Item(value.into(), Expr { line, kind: Kind::Tuple(elements) }.into()));
            }
        }
        match (colons, bounds) {
            (0, [Some(index), ..]) => Ok(Kind::Item(value.into(), index)),
            (0, _) => self.failed("`[]` holds nothing"),
            (_, bounds) => Ok(Kind::Slice(value.into(), bounds)),
        }
    }

    fn filters_and_tests(&mut self, mut value: Expr) -> Outcome<Expr> {
        let mut links = 0;
        loop {
            let line = value.line;
            if self.is("|") {
                value = self.filters(value, false)?;
            } else if self.take_name("is") {
                value = self.test(value)?;
            } else if self.take("(") {
                let arguments = self.arguments()?;
                value = Expr { line, kind: Kind::Call(value.into(), arguments) };
            } else {
                return Ok(value);
            }
            value = self.linked(value, &mut links)?;
        }
    }

    /// Filters behind a value; the first without its `|` if `begins` says so.
    pub(super) fn filters(&mut self, mut value: Expr, mut begins: bool) -> Outcome<Expr> {
        let mut links = 0;
        while begins || self.take("|") {
            begins = false;
            let line = self.line();
            let name = self.dotted_name()?;
            let arguments = if self.take("(") { self.arguments()? } else { Arguments::default() };
            value =
                self.linked(Expr { line, kind: Kind::Filter(value.into(), name, arguments) }, &mut links)?;
        }
        Ok(value)
    }

    fn dotted_name(&mut self) -> Outcome<Rc<str>> {
        let mut name = self.name()?.to_string();
        while self.take(".") {
            name = format!("{name}.{}", self.name()?);
        }
        Ok(name.into())
    }

    /// A test, after `is`.
    fn test(&mut self, value: Expr) -> Outcome<Expr> {
        let line = value.line;
        let negated = self.take_name("not");
        let name = self.dotted_name()?;
        let begins_argument = match self.peek() {
            Some(Token::Name(name)) => !["else", "or", "and"].contains(&&**name),
            Some(Token::Str(_) | Token::Int(_) | Token::Float(_)) => true,
            _ => self.is("[") || self.is("{"),
        };
        let arguments = if self.take("(") {
            self.arguments()?
        } else if begins_argument {
            if self.is_name("is") {
                return self.failed("several tests with `is` follow each other");
            }
            let argument = self.primary()?;
            Arguments { positional: vec![self.postfix(argument)?], ..Arguments::default() }
        } else {
            Arguments::default()
        };
        let test = Expr { line, kind: Kind::Test(value.into(), name, arguments) };
        Ok(if negated { Expr { line, kind: Kind::Not(test.into()) } } else { test })
    }
}
