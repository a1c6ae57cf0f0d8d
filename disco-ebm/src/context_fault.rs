//! The message of what cannot be had in a context.

use std::fmt;

use crate::ContextFault;

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
