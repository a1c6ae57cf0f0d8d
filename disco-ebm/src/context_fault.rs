//! What cannot be had in a context, with the numbers that say why.

use std::fmt;

use crate::Error;

/// A context in which what is asked cannot be had: one of the list in [`Error::InContexts`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ContextFault {
    /// The position of the context among those that were measured.
    pub context: usize,
    /// The context as JSON, shortened.
    pub name: String,
    /// The samples of the context.
    pub samples: usize,
    /// Those that are possible under the base and satisfy the pointwise constraints.
    pub in_support: usize,
    /// The constraint that cannot hold, where it is one.
    pub constraint: Option<String>,
    /// The samples in the support for which its feature is not 0: of a binary feature, those that have it.
    pub having: Option<usize>,
    /// The mean that is asked for.
    pub target: Option<f64>,
    /// The least and the largest value of the feature in the support (where its condition holds): the mean must lie between.
    pub reach: Option<(f64, f64)>,
    /// What the fit of the context says.
    pub cause: Box<Error>,
}

impl fmt::Display for ContextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {} {}: ", self.context, self.name)?;
        if let (Some(constraint), Some(target), Some((low, high))) =
            (&self.constraint, self.target, self.reach)
        {
            write!(
                f,
                "`{constraint}` = {target} is asked, values in the support reach from {low} to {high}"
            )?;
            if let Some(having) = self.having {
                write!(f, " ({having} of {} samples are not 0)", self.in_support)?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{} of {} samples are in the support: {}", self.in_support, self.samples, self.cause)
    }
}

/// The list as lines.
pub(crate) fn lines(faults: &[ContextFault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}
