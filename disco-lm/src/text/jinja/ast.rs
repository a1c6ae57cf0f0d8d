//! The syntax tree of a template.

use std::rc::Rc;

use super::value::Value;

/// An expression with the line that it begins on.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Constant(Value),
    Name(Rc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// Operators of one precedence, from left to right, as one node: long sums are not deep.
    Chain(Box<Expr>, Vec<(Operator, Expr)>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Positive(Box<Expr>),
    /// `value if condition else other`.
    Choice {
        condition: Box<Expr>,
        value: Box<Expr>,
        other: Option<Box<Expr>>,
    },
    Attribute(Box<Expr>, Rc<str>),
    Item(Box<Expr>, Box<Expr>),
    /// `[start:stop:step]`.
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Arguments),
    Filter(Box<Expr>, Rc<str>, Arguments),
    Test(Box<Expr>, Rc<str>, Arguments),
    /// The text of a `{% filter %}` or `{% set %}` block, before its filters.
    Block,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(Rc<str>, Expr)>,
    /// `*values`.
    pub(super) spread: Option<Box<Expr>>,
    /// `**entries`.
    pub(super) spread_named: Option<Box<Expr>>,
}

/// A place that is assigned to.
#[derive(Debug)]
pub(super) enum Target {
    Name(Rc<str>),
    Tuple(Vec<Target>),
    /// `namespace.name`.
    Attribute(Rc<str>, Rc<str>),
}

/// A statement with its line.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) line: usize,
    pub(super) kind: Action,
}

pub(super) type Body = Vec<Statement>;

#[derive(Debug)]
pub(super) enum Action {
    Text(Rc<str>),
    Print(Expr),
    /// Conditions with their bodies; an `else` has none.
    If(Vec<(Option<Expr>, Body)>),
    For(For),
    Set(Target, Expr),
    /// `{% set x | filter %}...{% endset %}`.
    SetBlock(Target, Body, Expr),
    With(Vec<(Target, Expr)>, Body),
    /// `{% filter x %}`.
    Filter(Body, Expr),
    Macro(Macro),
    /// `{% call(parameters) expression %}`: the body is the macro `caller`.
    Call(Macro, Expr),
    /// `{% generation %}`: transformers finds the tokens of the assistant by it. Its body has a scope of its own.
    Generation(Body),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct For {
    pub(super) target: Target,
    pub(super) values: Expr,
    pub(super) condition: Option<Expr>,
    pub(super) body: Body,
    pub(super) otherwise: Body,
    pub(super) recursive: bool,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub(super) name: Rc<str>,
    pub(super) parameters: Vec<(Rc<str>, Option<Expr>)>,
    pub(super) body: Body,
    /// Whether it names `varargs`, `kwargs` and `caller`.
    pub(super) uses: [bool; 3],
}
