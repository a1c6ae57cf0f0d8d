//! The imports of one Rust source file, read from its tokens.
//!
//! Tokens and not a syntax tree: so the bodies of macros count as well. Comments and strings are no tokens, so that links in documentation
//! do not count. Code under `#[cfg(test)]` is left out.

use std::{iter::Peekable, str::FromStr, vec};

use proc_macro2::{Delimiter, Group, Ident, LexError, TokenStream, TokenTree};

/// A path that a file imports or writes out, from the root of its crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ImportedPath {
    /// The line, from 1.
    pub(super) line: usize,
    /// The path without the leading `crate`. A glob and `self` stand for the module itself; no segments for a glob of the root.
    pub(super) segments: Vec<String>,
    /// Its name in this file, where `use` gives it another one.
    pub(super) alias: Option<String>,
}

/// The imports of a file, and the modules that it declares.
#[derive(Clone, Debug, Default)]
pub(super) struct FileImports {
    /// The paths that begin with `crate`, `self` or `super`.
    pub(super) paths: Vec<ImportedPath>,
    /// The paths of `use` that begin with another name: a crate, or a module beside.
    pub(super) others: Vec<ImportedPath>,
    /// The modules that are compiled for tests only.
    pub(super) test_modules: Vec<Vec<String>>,
}

impl FileImports {
    /// Reads the text of the file of `module`, a path from the root of the crate.
    ///
    /// # Errors
    /// If the text is not a sequence of Rust tokens.
    pub(super) fn of(text: &str, module: &[String]) -> Result<Self, LexError> {
        let mut imports = Self::default();
        imports.read(TokenStream::from_str(text)?, module);
        Ok(imports)
    }

    fn read(&mut self, tokens: TokenStream, module: &[String]) {
        let mut tokens = Tokens::new(tokens);
        // Whether the next item is compiled for tests only.
        let mut for_tests = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' => {
                    if let Some(attribute) = tokens.group(Delimiter::Bracket) {
                        for_tests |= is_for_tests(attribute.stream());
                        self.read(attribute.stream(), module);
                    }
                }
                TokenTree::Ident(name) if for_tests => {
                    for_tests = false;
                    self.skip_item(name, &mut tokens, module);
                }
                TokenTree::Ident(name) => self.read_from(&name, &mut tokens, module),
                TokenTree::Group(group) => self.read(group.stream(), module),
                _ => {}
            }
        }
    }

    /// Reads on from an identifier.
    fn read_from(&mut self, name: &Ident, tokens: &mut Tokens, module: &[String]) {
        match name.to_string().as_str() {
            // `use<'a>` names lifetimes that a type captures.
            "use" if !tokens.is_punct('<') => {
                tokens.double_colon();
                self.read_tree(tokens, Vec::new(), module);
            }
            "mod" => {
                let Some(TokenTree::Ident(name)) = tokens.peek().cloned() else { return };
                tokens.next();
                if let Some(body) = tokens.group(Delimiter::Brace) {
                    self.read(body.stream(), &[module, &[name.to_string()]].concat());
                }
            }
            first @ ("crate" | "self" | "super") => {
                let line = name.span().start().line;
                let mut segments = vec![first.to_owned()];
                while tokens.double_colon() {
                    let Some(TokenTree::Ident(name)) = tokens.peek() else { break };
                    segments.push(name.to_string());
                    tokens.next();
                }
                // `pub(crate)` names the root, and imports nothing from it.
                if absolute(&segments, module).is_some_and(|path| !path.is_empty()) {
                    self.add(line, segments, None, module);
                }
            }
            _ => {}
        }
    }

    /// Reads a tree of `use` behind the path `before`.
    fn read_tree(&mut self, tokens: &mut Tokens, before: Vec<String>, module: &[String]) {
        let mut path = before;
        loop {
            match tokens.next() {
                Some(TokenTree::Ident(name)) => {
                    let line = name.span().start().line;
                    path.push(name.to_string());
                    if tokens.double_colon() {
                        continue;
                    }
                    let alias = tokens.alias();
                    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                        path.pop();
                    }
                    return self.add(line, path, alias, module);
                }
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                    return self.add(star.span().start().line, path, None, module);
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let mut inside = Tokens::new(group.stream());
                    while inside.peek().is_some() {
                        inside.double_colon();
                        self.read_tree(&mut inside, path.clone(), module);
                        inside.skip_comma();
                    }
                    return;
                }
                _ => return,
            }
        }
    }

    /// Skips an item that is compiled for tests only.
    fn skip_item(&mut self, first: Ident, tokens: &mut Tokens, module: &[String]) {
        let mut last = first.to_string();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(name) => {
                    if last == "mod" {
                        self.test_modules.push([module, &[name.to_string()]].concat());
                    }
                    last = name.to_string();
                }
                TokenTree::Punct(end) if end.as_char() == ';' => return,
                TokenTree::Group(body) if body.delimiter() == Delimiter::Brace => return,
                _ => {}
            }
        }
    }

    fn add(&mut self, line: usize, path: Vec<String>, alias: Option<String>, module: &[String]) {
        match absolute(&path, module) {
            Some(segments) => self.paths.push(ImportedPath { line, segments, alias }),
            None => self.others.push(ImportedPath { line, segments: path, alias }),
        }
    }
}

/// The path from the root of the crate; `None` if it does not begin with `crate`, `self` or `super`.
fn absolute(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let mut rest = path;
    let mut base = match rest.first()?.as_str() {
        "crate" => {
            rest = &rest[1..];
            Vec::new()
        }
        "self" => {
            rest = &rest[1..];
            module.to_vec()
        }
        "super" => module.to_vec(),
        _ => return None,
    };
    while rest.first().is_some_and(|name| name == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend(rest.iter().cloned());
    Some(base)
}

/// Whether the attribute is `cfg(test)`, or a condition that holds in tests only.
fn is_for_tests(attribute: TokenStream) -> bool {
    let mut tokens = Tokens::new(attribute);
    let is_cfg = matches!(tokens.next(), Some(TokenTree::Ident(name)) if name == "cfg");
    is_cfg && tokens.group(Delimiter::Parenthesis).is_some_and(|condition| needs_test(condition.stream()))
}

/// Whether a condition of `cfg` implies `test`: `test` itself, or `all(..)` of conditions one of which does.
fn needs_test(condition: TokenStream) -> bool {
    let mut tokens = Tokens::new(condition);
    while let Some(token) = tokens.next() {
        let TokenTree::Ident(name) = token else { continue };
        match tokens.group(Delimiter::Parenthesis) {
            Some(inside) if name == "all" && needs_test(inside.stream()) => return true,
            None if name == "test" => return true,
            _ => {}
        }
    }
    false
}

/// Tokens, one after the other.
struct Tokens(Peekable<vec::IntoIter<TokenTree>>);

impl Tokens {
    fn new(tokens: TokenStream) -> Self {
        Self(tokens.into_iter().collect::<Vec<_>>().into_iter().peekable())
    }

    fn next(&mut self) -> Option<TokenTree> {
        self.0.next()
    }

    fn peek(&mut self) -> Option<&TokenTree> {
        self.0.peek()
    }

    fn is_punct(&mut self, wanted: char) -> bool {
        matches!(self.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
    }

    /// Takes `::`, if it comes next.
    fn double_colon(&mut self) -> bool {
        let comes =
            self.is_punct(':')
                && self.0.clone().nth(1).is_some_and(
                    |second| matches!(second, TokenTree::Punct(punct) if punct.as_char() == ':'),
                );
        if comes {
            self.next();
            self.next();
        }
        comes
    }

    /// Takes `as NAME`, if it comes next.
    fn alias(&mut self) -> Option<String> {
        if !matches!(self.peek(), Some(TokenTree::Ident(name)) if name == "as") {
            return None;
        }
        self.next();
        match self.next() {
            Some(TokenTree::Ident(name)) => Some(name.to_string()),
            _ => None,
        }
    }

    fn skip_comma(&mut self) {
        if self.is_punct(',') {
            self.next();
        }
    }

    /// Takes a group with this delimiter, if it comes next; behind `!` too, as in `#![..]`.
    fn group(&mut self, delimiter: Delimiter) -> Option<Group> {
        if self.is_punct('!') {
            self.next();
        }
        match self.peek() {
            Some(TokenTree::Group(group)) if group.delimiter() == delimiter => {
                let group = group.clone();
                self.next();
                Some(group)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paths that `text` imports as the file of the module `a::b`.
    fn paths(text: &str) -> Vec<String> {
        let module = ["a", "b"].map(str::to_owned);
        let imports = FileImports::of(text, &module).unwrap();
        imports.paths.iter().map(|path| format!("{} {}", path.line, path.segments.join("::"))).collect()
    }

    #[test]
    fn trees_of_use_are_read_with_braces_globs_and_renames() {
        let text = "use std::fmt;\nuse crate::{\n    error::{self, Error as E},\n    spec::*,\n};\npub(crate) use super::c::D;";
        assert_eq!(paths(text), ["3 error", "3 error::Error", "4 spec", "6 a::c::D"]);
        assert_eq!(paths("use self::child::X; use super::super::top;"), ["1 a::b::child::X", "1 top"]);
        assert_eq!(paths("use row::Row; use ::std::io;"), Vec::<String>::new());
        assert_eq!(paths("use {crate::x, crate::y::{z}};"), ["1 x", "1 y::z"]);
    }

    #[test]
    fn paths_in_code_visibilities_and_macros_count() {
        assert_eq!(paths("fn f() -> crate::x::Y { super::z::<u8>() }"), ["1 x::Y", "1 a::z"]);
        assert_eq!(paths("pub(in crate::a) fn f() {}\npub(crate) fn g() {}"), ["1 a"]);
        assert_eq!(paths("macro_rules! m { () => { $crate::x::y!() } }\nm!(crate::z);"), ["1 x::y", "2 z"]);
        assert_eq!(paths("fn f<'a>() -> impl Sized + use<'a> {}"), Vec::<String>::new());
        assert_eq!(paths("mod inner { use super::x; }"), ["1 a::b::x"]);
    }

    #[test]
    fn documentation_strings_and_tests_do_not_count() {
        assert_eq!(
            paths("/// See [x](crate::x).\n// crate::y\nconst S: &str = \"crate::z\";"),
            Vec::<String>::new()
        );
        assert_eq!(paths("#[cfg(test)]\nmod tests { use crate::x; }\nuse crate::y;"), ["3 y"]);
        assert_eq!(
            paths("#[cfg(test)]\nuse crate::x;\n#[cfg(all(test, unix))]\nfn f() { crate::y() }"),
            Vec::<String>::new()
        );
        assert_eq!(
            paths("#[cfg(not(test))]\nuse crate::x;\n#[cfg(any(test, unix))]\nuse crate::y;"),
            ["2 x", "4 y"]
        );
        let declared = FileImports::of("#[cfg(test)]\nmod testing;", &[]).unwrap();
        assert_eq!(declared.test_modules, [["testing"]]);
    }
}
