//! Texts with places for columns.

use super::{Columns, text_context::text_in};

/// A text with places for columns: `{name}` stands for the column of that name, `{{` and `}}` for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The problem with it, as the end of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = behind;
                continue;
            }
            if brace == "}" {
                return Err("has a `}` that closes nothing; `}}` stands for a brace".into());
            }
            let Some((name, behind)) = rest.split_once('}') else {
                return Err("has a `{` that is not closed; `{{` stands for a brace".into());
            };
            if name.is_empty() || name.contains('{') {
                return Err(format!("has `{{{name}}}`, which names no column; `{{{{` stands for a brace"));
            }
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Column(name.into()));
            rest = behind;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self { parts })
    }

    /// Whether it has a place for a column: a template without one gives every row the same text.
    pub(crate) fn has_columns(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Column(_)))
    }

    /// Whether it has a place for this column.
    pub(crate) fn names(&self, column: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Column(name) if name == column))
    }

    /// The text of a row.
    ///
    /// # Errors
    /// The problem with a column, as a sentence that names it.
    pub(crate) fn fill(&self, columns: &Columns) -> Result<String, String> {
        let of = |part: &Part| match part {
            Part::Text(text) => Ok(text.clone()),
            Part::Column(name) => text_in(columns, name),
        };
        self.parts.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_take_their_places_and_braces_are_doubled() {
        let columns: Columns =
            serde_json::from_value(json!({"who": "nurse", "n": 3, "a b": "{who}"})).unwrap();
        let fill = |text: &str| Template::parse(text).and_then(|template| template.fill(&columns));
        assert_eq!(fill("A {who} named").unwrap(), "A nurse named");
        assert_eq!(fill("{who}{n}").unwrap(), "nurse3");
        assert_eq!(fill("{{\"x\": {n}}}").unwrap(), "{\"x\": 3}");
        // A column's own braces are text.
        assert_eq!(fill("{a b}").unwrap(), "{who}");
        assert_eq!(fill("é {who}").unwrap(), "é nurse");
        assert!(fill("{whom}").unwrap_err().contains("no field `whom`"));
        assert!(fill("{who").unwrap_err().contains("not closed"));
        assert!(fill("who}").unwrap_err().contains("closes nothing"));
        assert!(fill("{}").unwrap_err().contains("names no column"));
        assert!(!Template::parse("{{x}}").unwrap().has_columns());
        let template = Template::parse("{{x}} {who}").unwrap();
        assert!(template.names("who") && !template.names("x"));
    }
}
