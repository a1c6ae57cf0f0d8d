//! Expressions of a template, with Jinja's precedence of operators.

use std::rc::Rc;

use super::{
    ast::{Arguments, Comparison, Expr, Kind, Operator},
    budget::Outcome,
    lexer::Token,
    parser::Parser,
    value::Value,
};

type Level = fn(&mut Parser) -> Outcome<Expr>;

impl Parser {
    /// An expression, with `if` and `else`.
    pub(super) fn expression(&mut self) -> Outcome<Expr> {
        self.deeper(|parser| {
            let mut value = parser.or()?;
            while parser.take_name("if") {
                let condition = parser.or()?.into();
                let other =
                    if parser.take_name("else") { Some(Box::new(parser.expression()?)) } else { None };
                let line = value.line;
                value = Expr { line, kind: Kind::Choice { condition, value: value.into(), other } };
            }
            Ok(value)
        })
    }

    /// An expression, or several with commas between them: a tuple.
    pub(super) fn tuple_or_expression(&mut self) -> Outcome<Expr> {
        self.tuple_or_single(true)
    }

    /// As [`tuple_or_expression`](Self::tuple_or_expression); `if` and `else` belong to it only where `choices` says so.
    pub(super) fn tuple_or_single(&mut self, choices: bool) -> Outcome<Expr> {
        let line = self.line();
        let one = |parser: &mut Self| if choices { parser.expression() } else { parser.deeper(Self::or) };
        let first = one(self)?;
        if !self.is(",") {
            return Ok(first);
        }
        let mut values = vec![first];
        while self.take(",") {
            if matches!(self.peek(), None | Some(Token::VariableEnd | Token::BlockEnd)) || self.is(")") {
                break;
            }
            values.push(one(self)?);
        }
        Ok(Expr { line, kind: Kind::Tuple(values) })
    }

    fn or(&mut self) -> Outcome<Expr> {
        self.list_of(Self::and, |parser| parser.take_name("or"), Kind::Or)
    }

    fn and(&mut self) -> Outcome<Expr> {
        self.list_of(Self::not, |parser| parser.take_name("and"), Kind::And)
    }

    fn list_of(
        &mut self,
        level: Level,
        separator: impl Fn(&mut Self) -> bool,
        kind: impl Fn(Vec<Expr>) -> Kind,
    ) -> Outcome<Expr> {
        let line = self.line();
        let first = level(self)?;
        let mut parts = vec![first];
        while separator(self) {
            parts.push(level(self)?);
        }
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        Ok(Expr { line, kind: kind(parts) })
    }

    fn not(&mut self) -> Outcome<Expr> {
        let line = self.line();
        if self.take_name("not") {
            let inner = self.deeper(Self::not)?;
            return Ok(Expr { line, kind: Kind::Not(inner.into()) });
        }
        self.compare()
    }

    fn compare(&mut self) -> Outcome<Expr> {
        let line = self.line();
        let first = self.sum()?;
        let mut others = Vec::new();
        while let Some(comparison) = self.comparison() {
            others.push((comparison, self.sum()?));
        }
        if others.is_empty() {
            return Ok(first);
        }
        Ok(Expr { line, kind: Kind::Compare(first.into(), others) })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        for (operator, comparison) in [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessEqual),
            (">=", Comparison::GreaterEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ] {
            if self.take(operator) {
                return Some(comparison);
            }
        }
        if self.take_name("in") {
            return Some(Comparison::In);
        }
        if self.is_name("not") && matches!(self.peek_second(), Some(Token::Name(name)) if **name == *"in") {
            self.next();
            self.next();
            return Some(Comparison::NotIn);
        }
        None
    }

    fn chain(&mut self, level: Level, operators: &[(&str, Operator)]) -> Outcome<Expr> {
        let line = self.line();
        let first = level(self)?;
        let mut others = Vec::new();
        while let Some((_, operator)) = operators.iter().find(|(text, _)| self.is(text)) {
            self.next();
            others.push((*operator, level(self)?));
        }
        if others.is_empty() {
            return Ok(first);
        }
        Ok(Expr { line, kind: Kind::Chain(first.into(), others) })
    }

    fn sum(&mut self) -> Outcome<Expr> {
        self.chain(Self::concat, &[("+", Operator::Add), ("-", Operator::Subtract)])
    }

    fn concat(&mut self) -> Outcome<Expr> {
        self.list_of(Self::product, |parser| parser.take("~"), Kind::Concat)
    }

    fn product(&mut self) -> Outcome<Expr> {
        const OPERATORS: [(&str, Operator); 4] = [
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("//", Operator::FloorDivide),
            ("%", Operator::Modulo),
        ];
        self.chain(Self::power, &OPERATORS)
    }

    fn power(&mut self) -> Outcome<Expr> {
        self.chain(|parser| parser.unary(true), &[("**", Operator::Power)])
    }

    fn unary(&mut self, with_filters: bool) -> Outcome<Expr> {
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
