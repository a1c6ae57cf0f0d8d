//! Filters of texts.

use super::super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    methods::strip,
    value::Value,
    words,
};

impl Interpreter<'_> {
    pub(super) fn text_filter(&mut self, name: &str, value: &Value, args: Args) -> Outcome<Value> {
        if name == "format" {
            let format = self.to_str(value)?;
            let values = if args.named.is_empty() {
                Value::tuple(&self.budget, args.positional)?
            } else if args.positional.is_empty() {
                let entries = args.named.into_iter().map(|(name, value)| (Value::Str(name), value)).collect();
                Value::dict(&self.budget, entries)?
            } else {
                return Err(Failure::new("can't handle positional and keyword arguments at the same time"));
            };
            return self.percent(&format, &values);
        }
        if name == "indent" {
            // It adds a line break to the value first, which fails for what is no text.
            value.str(name)?;
        }
        let text = self.to_str(value)?;
        let none = |args: Args| args.bind(name, []).map(|[]| ());
        let changed = match name {
            "string" => none(args).map(|()| text)?,
            "safe" => return none(args).map(|()| Value::Markup(text.into())),
            "escape" | "e" | "forceescape" => {
                none(args)?;
                if let (Value::Markup(_), "escape" | "e") = (value, name) {
                    return Ok(value.clone());
                }
                let escaped = self.escaped(&text)?;
                return Ok(Value::Markup(escaped.into()));
            }
            "upper" => none(args).map(|()| text.to_uppercase())?,
            "lower" => none(args).map(|()| text.to_lowercase())?,
            "capitalize" => none(args).map(|()| words::capitalized(&text))?,
            "title" => none(args).map(|()| title(&text))?,
            "trim" => {
                let [letters] = args.bind(name, ["chars"])?;
                let letters = letters.filter(|letters| !matches!(letters, Value::None));
                let letters = letters.as_ref().map(|letters| letters.str(name)).transpose()?;
                strip(&text, letters, true, true).to_string()
            }
            "replace" => {
                let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
                let old = self.to_str(&Args::required(old, name, "old")?)?;
                let new = self.to_str(&Args::required(new, name, "new")?)?;
                let count = count.filter(|count| !matches!(count, Value::None));
                let count = count.map_or(Ok(-1), |count| count.int("count"))?;
                self.replaced(&text, &old, &new, count)?
            }
            "center" => {
                let [width] = args.bind(name, ["width"])?;
                let args = Args { positional: vec![width.unwrap_or(Value::Int(80))], named: Vec::new() };
                let centred = self.changed_text(&text, name, &args)?;
                return centred.ok_or_else(|| Failure::new("`center` failed"));
            }
            "indent" => self.indented(&text, args)?,
            "truncate" => self.truncated(&text, args)?,
            _ => {
                none(args)?;
                let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
                let words = text.split(|letter| !is_word(letter)).filter(|word| !word.is_empty()).count();
                return Ok(Value::Int(words as i64));
            }
        };
        Value::text(&self.budget, changed)
    }

    fn escaped(&self, text: &str) -> Outcome<String> {
        self.budget.bytes(text.len() * 5)?;
        let mut to = String::new();
        for letter in text.chars() {
            match letter {
                '&' => to.push_str("&amp;"),
                '<' => to.push_str("&lt;"),
                '>' => to.push_str("&gt;"),
                '"' => to.push_str("&#34;"),
                '\'' => to.push_str("&#39;"),
                letter => to.push(letter),
            }
        }
        Ok(to)
    }

    fn indented(&mut self, text: &str, args: Args) -> Outcome<String> {
        let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
        let [first, blank] = [first, blank].map(|flag| flag.is_some_and(|flag| flag.is_true()));
        let indentation = match width.unwrap_or(Value::Int(4)) {
            Value::Str(text) => text.to_string(),
            width => {
                let width = usize::try_from(width.int("indent")?).unwrap_or(0);
                self.budget.bytes(width)?;
                " ".repeat(width)
            }
        };
        let with_end = format!("{text}\n");
        let lines = words::lines(&with_end, false);
        self.budget.bytes(indentation.len().saturating_mul(lines.len() + 1).saturating_add(text.len()))?;
        let mut to = String::new();
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                to.push('\n');
            }
            if index > 0 && (blank || !line.is_empty()) || index == 0 && first {
                to += &indentation;
            }
            to += line;
        }
        Ok(to)
    }

    fn truncated(&mut self, text: &str, args: Args) -> Outcome<String> {
        let [length, kill_words, end, leeway] =
            args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
        let count = |value: Option<Value>, default: i64| {
            let value = value.filter(|value| !matches!(value, Value::None));
            value.map_or(Ok(default), |value| value.int("truncate"))
        };
        let (length, leeway) = (count(length, 255)?, count(leeway, 5)?);
        let end = self.to_str(&end.unwrap_or(Value::Str("...".into())))?;
        let kept = length - end.chars().count() as i64;
        if kept < 0 || leeway < 0 {
            return Err(Failure::new(
                "truncate: the length is below that of the end, or the leeway is negative",
            ));
        }
        if text.chars().count() as i64 <= length.saturating_add(leeway) {
            return Ok(text.to_string());
        }
        let kept: String = text.chars().take(kept as usize).collect();
        let words = kill_words.is_some_and(|kill| kill.is_true());
        let kept =
            if words { &kept[..] } else { kept.rsplit_once(' ').map_or(&kept[..], |(before, _)| before) };
        Ok(format!("{kept}{end}"))
    }
}

/// Every word with its first character in upper case, and the others in lower case.
fn title(text: &str) -> String {
    let mut to = String::new();
    let mut begins = true;
    for letter in text.chars() {
        if begins {
            to.extend(letter.to_uppercase());
        } else {
            to.extend(letter.to_lowercase());
        }
        begins = letter.is_whitespace() || "-({[<".contains(letter);
    }
    to
}
