//! The tokens of a template, as Jinja's lexer finds them with `trim_blocks` and `lstrip_blocks`.

use std::rc::Rc;

use super::{
    budget::{Failure, Outcome},
    literals,
};

/// The longest source, in bytes.
const SOURCE: usize = 4 << 20;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text between tags.
    Text(Rc<str>),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(Rc<str>),
    Str(Rc<str>),
    Int(i64),
    Float(f64),
    Operator(&'static str),
}

/// The operators, the longest first.
const OPERATORS: [&str; 27] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";", "!",
];

/// The whitespace of Python.
pub(super) fn is_space(letter: char) -> bool {
    letter.is_whitespace() || ('\x1c'..='\x1f').contains(&letter)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: usize,
    /// Whether what was read last ended with a line break.
    line_starts: bool,
    tokens: Vec<(usize, Token)>,
}

/// The tokens of a template, each with its line.
pub(super) fn tokens(source: &str) -> Outcome<Vec<(usize, Token)>> {
    if source.len() > SOURCE {
        return Err(Failure::new(format!("it has more than {} MiB", SOURCE >> 20)));
    }
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    // One line break at the end of a template is not part of it.
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, line: 1, line_starts: true, tokens: Vec::new() };
    lexer.text()?;
    Ok(lexer.tokens)
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn failed<T>(&self, message: impl Into<String>) -> Outcome<T> {
        Err(Failure::new(message).at(self.line))
    }

    /// Goes on by `bytes`.
    fn skip(&mut self, bytes: usize) {
        let read = &self.source[self.at..self.at + bytes];
        self.line += read.matches('\n').count();
        if !read.is_empty() {
            self.line_starts = read.ends_with('\n');
        }
        self.at += bytes;
    }

    fn skip_spaces(&mut self) {
        self.skip(self.rest().len() - self.rest().trim_start_matches(is_space).len());
    }

    fn push(&mut self, token: Token) {
        self.tokens.push((self.line, token));
    }

    /// Text before a tag, with the whitespace taken off that the tag's sign and the two options ask for.
    fn push_text(&mut self, text: &str, sign: Option<char>, is_variable: bool) {
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space),
            Some(_) => text,
            None if is_variable => text,
            None => {
                let line = text.rfind('\n').map_or(0, |at| at + 1);
                let starts = line > 0 || self.line_starts;
                if starts && text[line..].chars().all(is_space) { &text[..line] } else { text }
            }
        };
        if !kept.is_empty() {
            self.push(Token::Text(kept.into()));
        }
    }

    /// The whole template: text and tags.
    fn text(&mut self) -> Outcome<()> {
        loop {
            let rest = self.rest();
            let found = rest.match_indices('{').find(|(at, _)| rest[at + 1..].starts_with(['{', '%', '#']));
            let Some((length, _)) = found else {
                if !rest.is_empty() {
                    self.push(Token::Text(rest.into()));
                }
                return Ok(());
            };
            let kind = rest.as_bytes()[length + 1];
            let sign = rest[length + 2..].chars().next().filter(|sign| ['-', '+'].contains(sign));
            self.push_text(&rest[..length], sign, kind == b'{');
            self.skip(length + 2 + usize::from(sign.is_some()));
            match kind {
                b'#' => self.comment()?,
                b'{' => self.tag(Token::VariableBegin, Token::VariableEnd, "}}")?,
                _ => match self.raw_begin() {
                    Some(length) => self.raw(length)?,
                    None => self.tag(Token::BlockBegin, Token::BlockEnd, "%}")?,
                },
            }
        }
    }

    /// The end of a tag at this place: its length, with what its sign or `trim_blocks` takes of the text behind it.
    fn end(rest: &str, mark: &str) -> Option<usize> {
        if let Some(after) = rest.strip_prefix('-').and_then(|rest| rest.strip_prefix(mark)) {
            return Some(rest.len() - after.trim_start_matches(is_space).len());
        }
        let is_variable = mark == "}}";
        if !is_variable && rest.strip_prefix('+').is_some_and(|rest| rest.starts_with(mark)) {
            return Some(1 + mark.len());
        }
        let after = rest.strip_prefix(mark)?;
        Some(mark.len() + usize::from(!is_variable && after.starts_with('\n')))
    }

    fn comment(&mut self) -> Outcome<()> {
        let rest = self.rest();
        let Some(at) = rest.find("#}") else { return self.failed("a comment has no end") };
        let at = if at > 0 && ["-", "+"].contains(&rest.get(at - 1..at).unwrap_or("")) { at - 1 } else { at };
        let end = Self::end(&rest[at..], "#}").expect("it ends here");
        self.skip(at + end);
        Ok(())
    }

    /// The length of the rest of `{% raw %}`, if this is one.
    fn raw_begin(&self) -> Option<usize> {
        let rest = self.rest();
        let after = rest.trim_start_matches(is_space).strip_prefix("raw")?.trim_start_matches(is_space);
        let stripped = after.strip_prefix("-%}").map(|after| after.trim_start_matches(is_space));
        let after = stripped.or_else(|| after.strip_prefix("%}"))?;
        Some(rest.len() - after.len())
    }

    fn raw(&mut self, begin: usize) -> Outcome<()> {
        self.skip(begin);
        let rest = self.rest();
        for (at, _) in rest.match_indices("{%") {
            let sign = rest[at + 2..].chars().next().filter(|sign| ['-', '+'].contains(sign));
            let tag = &rest[at + 2 + usize::from(sign.is_some())..];
            let word = tag.trim_start_matches(is_space).strip_prefix("endraw");
            let Some(after) = word.map(|word| word.trim_start_matches(is_space)) else { continue };
            let Some(end) = Self::end(after, "%}") else { continue };
            self.push_text(&rest[..at], sign, false);
            self.skip(rest.len() - after.len() + end);
            return Ok(());
        }
        self.failed("`{% raw %}` has no `{% endraw %}`")
    }

    /// The inside of `{{ }}` or `{% %}`.
    fn tag(&mut self, begin: Token, end: Token, mark: &str) -> Outcome<()> {
        self.push(begin);
        let mut open = Vec::new();
        loop {
            self.skip_spaces();
            if open.is_empty()
                && let Some(length) = Self::end(self.rest(), mark)
            {
                self.push(end);
                self.skip(length);
                return Ok(());
            }
            let Some(first) = self.rest().chars().next() else {
                return self.failed(format!("the template ends inside of a tag, which ends with `{mark}`"));
            };
            if first.is_ascii_digit() {
                let (token, length) = literals::number(self.rest()).map_err(|error| error.at(self.line))?;
                self.push(token);
                self.skip(length);
            } else if first.is_alphabetic() || first == '_' {
                let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
                let name = self.rest().split(|letter| !is_word(letter)).next().unwrap_or("");
                self.push(Token::Name(name.into()));
                self.skip(name.len());
            } else if first == '\'' || first == '"' {
                let (text, length) = literals::text(self.rest()).map_err(|error| error.at(self.line))?;
                self.push(Token::Str(text.into()));
                self.skip(length);
            } else {
                self.operator(&mut open)?;
            }
        }
    }

    fn operator(&mut self, open: &mut Vec<&'static str>) -> Outcome<()> {
        let Some(operator) = OPERATORS.into_iter().find(|operator| self.rest().starts_with(operator)) else {
            let letter = self.rest().chars().next().unwrap_or(' ');
            return self.failed(format!("unexpected character {letter:?}"));
        };
        match operator {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" => match open.pop() {
                Some(expected) if expected == operator => {}
                Some(expected) => {
                    return self.failed(format!("unexpected `{operator}`, expected `{expected}`"));
                }
                None => return self.failed(format!("unexpected `{operator}`")),
            },
            "!" => return self.failed("unexpected character '!'"),
            _ => {}
        }
        self.push(Token::Operator(operator));
        self.skip(operator.len());
        Ok(())
    }
}
