//! The factor of one constraint, as numbers.

use disco_core::Error as CoreError;

use crate::{Constraint, Error, Result};

/// The factor of a constraint in a context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Factor {
    /// 1 where the binary feature has the wanted value, else 0.
    Hard { wanted: bool },
    /// `exp(coefficient (phi - shift))`; under a condition `g`, `exp(coefficient g (phi - shift))`.
    Soft { coefficient: f64, shift: f64 },
}

/// The factor of a constraint in all contexts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Factors {
    Shared(Factor),
    /// One for each context of the tilt's index.
    Each(Vec<Factor>),
}

impl Factors {
    /// The factor in the context of this position, which a tilt with coefficients per context has.
    pub(crate) fn at(&self, position: Option<usize>) -> Factor {
        match (self, position) {
            (Self::Shared(factor), _) => *factor,
            (Self::Each(factors), Some(position)) => factors[position],
            (Self::Each(_), None) => unreachable!("the position is looked up where there are such factors"),
        }
    }
}

impl Factor {
    /// Whether the factor is other than 1 for some sample.
    pub(crate) fn matters(self) -> bool {
        !matches!(self, Self::Soft { coefficient: 0.0, .. })
    }

    pub(crate) fn is_hard(self) -> bool {
        matches!(self, Self::Hard { .. })
    }

    /// The logarithm of the factor of the sample at `index`, from the raw values of feature and condition.
    pub(crate) fn log<C: ?Sized, X: ?Sized>(
        self,
        constraint: &Constraint<C, X>,
        index: usize,
        raw: f64,
        given: Option<f64>,
    ) -> Result<f64> {
        let value = value(constraint, index, raw)?;
        let holds = condition(constraint, index, given)?;
        match self {
            Self::Hard { .. } if !holds => Ok(0.0),
            Self::Hard { wanted } => match (value == 1.0, value == 0.0) {
                (false, false) => {
                    Err(Error::NotBinary { feature: constraint.feature().name().into(), value })
                }
                (one, _) => Ok(if one == wanted { 0.0 } else { f64::NEG_INFINITY }),
            },
            Self::Soft { .. } if !holds => Ok(0.0),
            Self::Soft { coefficient, shift } => {
                let log = coefficient * (value - shift);
                if log.is_finite() {
                    return Ok(log);
                }
                let field = format!("log-factor of `{}` for sample {index}", constraint.name());
                let allowed = format!("finite: its value is {value}, and the coefficient {coefficient}");
                Err(CoreError::invalid(field, log, allowed).into())
            }
        }
    }
}

/// The value of the constraint's feature; 0 or 1 for a label of a category.
pub(crate) fn value<C: ?Sized, X: ?Sized>(
    constraint: &Constraint<C, X>,
    index: usize,
    raw: f64,
) -> Result<f64> {
    let name = constraint.feature().name();
    if !raw.is_finite() {
        return Err(CoreError::NotANumber { by: name.into(), index, value: raw }.into());
    }
    match constraint.label_of() {
        None => {
            constraint.range().check(name, raw)?;
            Ok(raw)
        }
        Some(label) => {
            if raw.fract() != 0.0 || raw < 0.0 || raw >= label.labels.len() as f64 {
                let labels = label.labels.to_vec();
                return Err(Error::NotALabel { feature: name.into(), value: raw, labels });
            }
            Ok(f64::from(u8::from(raw == label.position as f64)))
        }
    }
}

/// Whether the condition holds; without one it does.
pub(crate) fn condition<C: ?Sized, X: ?Sized>(
    constraint: &Constraint<C, X>,
    index: usize,
    given: Option<f64>,
) -> Result<bool> {
    let Some((g, value)) = constraint.condition().zip(given) else { return Ok(true) };
    if value.is_nan() {
        return Err(CoreError::NotANumber { by: g.name().into(), index, value }.into());
    }
    match (value == 1.0, value == 0.0) {
        (false, false) => Err(Error::ConditionNotBinary { feature: g.name().into(), value }),
        (holds, _) => Ok(holds),
    }
}
