//! Operators of expressions, with Jinja's precedence: methods of [`Parser`].

use super::{
    ast::{Comparison, Expr, Kind, Operator},
    budget::Outcome,
    cursor::Parser,
    lexer::Token,
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
}
