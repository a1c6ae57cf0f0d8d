//! Methods of a text that give another text.

use super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    methods::strip,
    value::Value,
    words,
};

impl Interpreter<'_> {
    /// The result of a method that gives another text; `None` if `name` is not one of these.
    pub(super) fn changed_text(&mut self, text: &str, name: &str, args: &Args) -> Outcome<Option<Value>> {
        let args = args.clone();
        let none = |args: Args| args.bind(name, []).map(|[]| ());
        let changed = match name {
            "capitalize" => none(args).map(|()| words::capitalized(text)),
            "lower" => none(args).map(|()| text.to_lowercase()),
            "casefold" => none(args).map(|()| text.to_lowercase().replace('ß', "ss")),
            "upper" => none(args).map(|()| text.to_uppercase()),
            "title" => none(args).map(|()| words::title(text)),
            "swapcase" => none(args).map(|()| {
                let swap = |letter: char| -> String {
                    if letter.is_uppercase() {
                        letter.to_lowercase().collect()
                    } else {
                        letter.to_uppercase().collect()
                    }
                };
                text.chars().map(swap).collect()
            }),
            "strip" | "lstrip" | "rstrip" => {
                let [letters] = args.bind(name, ["chars"])?;
                let letters = letters.filter(|letters| !matches!(letters, Value::None));
                let letters = letters.as_ref().map(|letters| letters.str(name)).transpose()?;
                Ok(strip(text, letters, name != "rstrip", name != "lstrip").to_string())
            }
            "removeprefix" | "removesuffix" => {
                let [part] = args.bind(name, ["prefix"])?;
                let part = Args::required(part, name, "prefix")?;
                let part = part.str(name)?;
                let kept =
                    if name == "removeprefix" { text.strip_prefix(part) } else { text.strip_suffix(part) };
                Ok(kept.unwrap_or(text).to_string())
            }
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let old = Args::required(old, name, "old")?;
                let new = Args::required(new, name, "new")?;
                let count = count.map_or(Ok(-1), |count| count.int("count"))?;
                self.replaced(text, old.str(name)?, new.str(name)?, count)
            }
            "center" | "ljust" | "rjust" => {
                let [width, fill] = args.bind(name, ["width", "fillchar"])?;
                let width = Args::required(width, name, "width")?.int(name)?;
                let fill = fill.unwrap_or(Value::Str(" ".into()));
                let fill = fill.str(name)?;
                if fill.chars().count() != 1 {
                    return Err(Failure::new("The fill character must be exactly one character long"));
                }
                let length = text.chars().count();
                let missing = usize::try_from(width).unwrap_or(0).saturating_sub(length);
                self.budget.bytes(missing.saturating_mul(4))?;
                let left = match name {
                    // As CPython rounds it.
                    "center" => missing / 2 + (missing & width as usize & 1),
                    "ljust" => 0,
                    _ => missing,
                };
                Ok(fill.repeat(left) + text + &fill.repeat(missing - left))
            }
            "zfill" => {
                let [width] = args.bind(name, ["width"])?;
                let width = Args::required(width, name, "width")?.int(name)?;
                let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
                self.budget.bytes(missing)?;
                let signed = text.len() - text.strip_prefix(['-', '+']).unwrap_or(text).len();
                Ok(format!("{}{}{}", &text[..signed], "0".repeat(missing), &text[signed..]))
            }
            "expandtabs" => {
                let [size] = args.bind(name, ["tabsize"])?;
                let size = size.map_or(Ok(8), |size| size.int(name))?;
                self.without_tabs(text, usize::try_from(size).unwrap_or(0))
            }
            _ => return Ok(None),
        };
        Ok(Some(Value::text(&self.budget, changed?)?))
    }

    /// `text.replace(old, new, count)`, where a negative count replaces all.
    pub(super) fn replaced(&self, text: &str, old: &str, new: &str, count: i64) -> Outcome<String> {
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let found = text.matches(old).count().min(most);
        self.budget.bytes(text.len().saturating_add(found.saturating_mul(new.len())))?;
        Ok(text.replacen(old, new, most))
    }

    fn without_tabs(&self, text: &str, size: usize) -> Outcome<String> {
        let mut column = 0;
        let mut to = String::new();
        for letter in text.chars() {
            match letter {
                '\t' => {
                    let spaces = if size == 0 { 0 } else { size - column % size };
                    self.budget.bytes(spaces)?;
                    to.extend(std::iter::repeat_n(' ', spaces));
                    column += spaces;
                }
                '\n' | '\r' => {
                    to.push(letter);
                    column = 0;
                }
                letter => {
                    to.push(letter);
                    column += 1;
                }
            }
        }
        Ok(to)
    }
}
