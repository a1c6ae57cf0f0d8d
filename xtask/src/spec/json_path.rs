//! Paths to a place in a JSON value.

/// A path to a place in a JSON value: `$` is the whole, `.name` and `["name"]` a member of an object, `[0]` an item of an array, and
/// `[-1]` the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member of this name.
    Name(String),
    /// The item at this position from 0; a negative one counts from behind, the last being -1.
    Item(i64),
}

impl JsonPath {
    /// The syntax in words.
    pub(super) const ALLOWED: &str =
        "$ for the whole, then .name, [\"name\"], [0] or [-1]: \"$.people[0].name\"";

    /// The most steps: each takes a little of the stack.
    const MOST: usize = 64;

    /// Reads a path.
    ///
    /// # Errors
    /// The problem with it and its position, counted in characters from 1, as the end of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let at = |rest: &str| text.chars().count() - rest.chars().count() + 1;
        let Some(mut rest) = text.strip_prefix('$') else {
            return Err(format!("is \"{text}\", which does not begin with `$`"));
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let wrong = |problem: &str| format!("is \"{text}\": at character {}, {problem}", at(rest));
            let (step, behind) = if let Some(name) = rest.strip_prefix('.') {
                read_name(name).map_err(wrong)?
            } else if let Some(inner) = rest.strip_prefix('[') {
                read_bracket(inner).map_err(wrong)?
            } else {
                return Err(wrong("neither `.` nor `[` stands there"));
            };
            steps.push(step);
            rest = behind;
        }
        if steps.len() > Self::MOST {
            return Err(format!("has {} steps, and at most {} are possible", steps.len(), Self::MOST));
        }
        Ok(Self { text: text.into(), steps })
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its steps.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// A name behind a point, and the text behind it.
fn read_name(text: &str) -> Result<(Step, &str), &'static str> {
    let is_end =
        |character: char| matches!(character, '.' | '[' | ']' | '"' | '\'') || character.is_whitespace();
    let end = text.find(is_end).unwrap_or(text.len());
    match &text[..end] {
        "" => Err("no name follows the point"),
        "*" => Err("`*` names several places"),
        name => Ok((Step::Name(name.into()), &text[end..])),
    }
}

/// A name in quotes or a number up to the closing bracket, and the text behind it.
fn read_bracket(text: &str) -> Result<(Step, &str), &'static str> {
    const CLOSED: &str = "the bracket is not closed";
    if text.starts_with('"') {
        // A JSON string, with JSON's escapes.
        let mut read = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let Some(Ok(name)) = read.next() else { return Err("the quoted name is no JSON string") };
        let behind = text[read.byte_offset()..].strip_prefix(']').ok_or(CLOSED)?;
        return Ok((Step::Name(name), behind));
    }
    if let Some(quoted) = text.strip_prefix('\'') {
        let (name, behind) = quoted.split_once('\'').ok_or("the quote is not closed")?;
        return Ok((Step::Name(name.into()), behind.strip_prefix(']').ok_or(CLOSED)?));
    }
    let (number, behind) = text.split_once(']').ok_or(CLOSED)?;
    let number =
        number.parse().map_err(|_| "neither a whole number nor a name in quotes follows the bracket")?;
    Ok((Step::Item(number), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_names_and_positions_and_problems_have_a_position() {
        let name = |name: &str| Step::Name(name.into());
        let steps = |text: &str| JsonPath::parse(text).map(|path| path.steps);
        assert_eq!(steps("$"), Ok(vec![]));
        assert_eq!(steps("$.a.b[0]"), Ok(vec![name("a"), name("b"), Step::Item(0)]));
        assert_eq!(steps("$[-1].é-1"), Ok(vec![Step::Item(-1), name("é-1")]));
        assert_eq!(steps(r#"$["a.b"]['c]"'].d"#), Ok(vec![name("a.b"), name("c]\""), name("d")]));
        assert_eq!(steps(r#"$["\u00e9\"]"]"#), Ok(vec![name("é\"]")]));
        for (text, problem) in [
            ("a.b", "is \"a.b\", which does not begin with `$`"),
            ("$a", "at character 2, neither `.` nor `[`"),
            ("$.", "at character 2, no name"),
            ("$.é..b", "at character 4, no name"),
            ("$.a[x]", "at character 4, neither a whole number"),
            ("$.a[", "at character 4, the bracket is not closed"),
            ("$.a[0", "at character 4, the bracket is not closed"),
            ("$[\"a]", "at character 2, the quoted name is no JSON string"),
            ("$['a]", "at character 2, the quote is not closed"),
            ("$['a'", "at character 2, the bracket is not closed"),
            ("$.*", "`*` names several places"),
            ("$[99999999999999999999]", "neither a whole number"),
        ] {
            let found = steps(text).unwrap_err();
            assert!(found.contains(problem), "{text}: {found}");
        }
        let [allowed, long] = [64, 65].map(|count| format!("${}", ".a".repeat(count)));
        assert!(steps(&allowed).is_ok());
        assert!(steps(&long).unwrap_err().contains("65 steps"));
    }
}
