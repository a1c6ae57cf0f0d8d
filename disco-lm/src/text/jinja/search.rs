//! Parts of texts and sequences between two places, and searches in them.

use super::{
    budget::{Failure, Outcome},
    calls::Args,
    interpreter::Interpreter,
    value::Value,
};

impl Interpreter<'_> {
    /// `count`, `find`, `index`, `rfind` and `rindex` of a text.
    pub(super) fn search(&self, text: &str, name: &str, args: Args) -> Outcome<Value> {
        let [wanted, start, stop] = args.bind(name, ["sub", "start", "end"])?;
        let wanted = Args::required(wanted, name, "sub")?;
        let wanted = wanted.str(name)?;
        let (before, part) = part_of(text, start.as_ref(), stop.as_ref())?;
        self.budget.steps(text.len())?;
        if name == "count" {
            return Ok(Value::Int(part.matches(wanted).count() as i64));
        }
        let found = if name.starts_with('r') { part.rfind(wanted) } else { part.find(wanted) };
        match found {
            Some(at) => Ok(Value::Int((before + part[..at].chars().count()) as i64)),
            None if name.ends_with("index") => Err(Failure::new("substring not found")),
            None => Ok(Value::Int(-1)),
        }
    }
}

/// Places from optional bounds, which count from the end if they are negative.
pub(super) fn bounds(length: usize, start: Option<&Value>, stop: Option<&Value>) -> Outcome<[usize; 2]> {
    let bound = |value: Option<&Value>, default: usize| -> Outcome<usize> {
        let Some(value) = value.filter(|value| !matches!(value, Value::None)) else { return Ok(default) };
        let value = value.int("bound")?;
        let value = if value < 0 { value.saturating_add_unsigned(length as u64) } else { value };
        Ok(usize::try_from(value.max(0)).unwrap_or(usize::MAX).min(length))
    };
    let start = bound(start, 0)?;
    Ok([start, bound(stop, length)?.max(start)])
}

/// A part of a text between two places, with the number of characters before it.
pub(super) fn part_of<'t>(
    text: &'t str,
    start: Option<&Value>,
    stop: Option<&Value>,
) -> Outcome<(usize, &'t str)> {
    if start.is_none() && stop.is_none() {
        return Ok((0, text));
    }
    let [start, stop] = bounds(text.chars().count(), start, stop)?;
    let at = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(at, _)| at);
    Ok((start, &text[at(start)..at(stop)]))
}
