//! The shift and the scale with which the features of a dual are solved for.

use disco_core::Error as CoreError;
use ndarray::{Array1, Array2, ArrayView1};

use crate::{MomentTarget, Result};

/// The largest size of a feature value: squares of such values, and sums of squares, are far from the end of `f64`.
const LARGEST_VALUE: f64 = 1e150;

/// The least and the largest value of each feature, as means over contexts, and how far the targets are from them.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// The mean over contexts of the least value on the support.
    pub(crate) low: f64,
    /// The mean over contexts of the largest value on the support.
    pub(crate) high: f64,
    /// The distance of the target above `low`, and of `high` above the target: computed without the cancellation that
    /// a difference of two means would have.
    pub(crate) above_low: f64,
    pub(crate) below_high: f64,
    /// A distance that may be nothing but rounding: 0 for a single context, where distances are differences of two
    /// numbers.
    pub(crate) rounding: f64,
    /// Whether the feature is constant within each context.
    pub(crate) constant: bool,
    /// The largest absolute value.
    pub(crate) size: f64,
}

/// Features in standardised coordinates: `(phi - shift) / scale`, with a shift for each context.
#[derive(Clone, Debug)]
pub(crate) struct Standard {
    /// The largest range of the feature within a context; 1 where it is constant. Unlike a standard deviation under
    /// the base, it does not depend on how improbable the base makes what is asked for.
    pub(crate) scale: Array1<f64>,
    /// `[contexts, features]`.
    shift: Array2<f64>,
    /// The standardised targets: 0 where every context has values on both sides of the target.
    pub(crate) asked: Array1<f64>,
    pub(crate) reach: Vec<Reach>,
}

impl Standard {
    /// Standardises `values`, of contexts with these rows and shares.
    ///
    /// # Errors
    /// [`disco_core::Error::Invalid`] for values above 1e150 in size.
    pub(crate) fn of(
        values: &mut Array2<f64>,
        starts: &[usize],
        shares: &[f64],
        targets: &[MomentTarget],
    ) -> Result<Self> {
        let (contexts, d) = (shares.len(), targets.len());
        // The target, or the value nearest to it within the context's range. A difference of two close numbers is exact, so that an
        // offset common to all values costs no digits, and moments near their targets are computed with the precision of what they miss.
        let mut shift = Array2::zeros((contexts, d));
        let mut scale = Array1::<f64>::zeros(d);
        let mut asked = Array1::zeros(d);
        let nothing = Reach {
            low: 0.0,
            high: 0.0,
            above_low: 0.0,
            below_high: 0.0,
            rounding: 0.0,
            constant: true,
            size: 0.0,
        };
        let mut reach = vec![nothing; d];
        for context in 0..contexts {
            let share = shares[context];
            let rows = starts[context]..starts[context + 1];
            let mut least = values.row(rows.start).to_vec();
            let mut most = least.clone();
            for row in rows {
                for (i, value) in values.row(row).iter().enumerate() {
                    least[i] = least[i].min(*value);
                    most[i] = most[i].max(*value);
                }
            }
            for (i, reach) in reach.iter_mut().enumerate() {
                let (least, most, target) = (least[i], most[i], targets[i].target);
                let size = least.abs().max(most.abs());
                if size > LARGEST_VALUE {
                    let field = format!("value of feature `{}`", targets[i].name);
                    let value = if most.abs() < size { least } else { most };
                    let allowed = format!("at most {LARGEST_VALUE:e} in size: give it another unit");
                    return Err(CoreError::invalid(field, value, allowed).into());
                }
                shift[[context, i]] = target.clamp(least, most);
                scale[i] = scale[i].max(most - least);
                reach.low += share * least;
                reach.high += share * most;
                reach.above_low += share * (target - least);
                reach.below_high += share * (most - target);
                reach.constant &= least == most;
                reach.size = reach.size.max(size);
                if contexts > 1 {
                    let farthest = (target - least).abs().max((most - target).abs());
                    reach.rounding += 4.0 * f64::EPSILON * share * farthest;
                }
            }
        }
        scale.mapv_inplace(|scale| if scale > 0.0 { scale } else { 1.0 });
        for context in 0..contexts {
            for i in 0..d {
                asked[i] += shares[context] * ((targets[i].target - shift[[context, i]]) / scale[i]);
            }
            for row in starts[context]..starts[context + 1] {
                for i in 0..d {
                    values[[row, i]] = (values[[row, i]] - shift[[context, i]]) / scale[i];
                }
            }
        }
        Ok(Self { scale, shift, asked, reach })
    }

    /// A context's means above other origins than the shifts; standardised, but for these.
    pub(crate) fn above(&self, context: usize, mean: ArrayView1<'_, f64>, origins: &[f64]) -> Array1<f64> {
        let origins = Array1::from(origins.to_vec());
        &mean + &((&self.shift.row(context) - &origins) / &self.scale)
    }

    /// These features alone.
    pub(crate) fn select(&self, columns: &[usize]) -> Self {
        Self {
            scale: self.scale.select(ndarray::Axis(0), columns),
            shift: self.shift.select(ndarray::Axis(1), columns),
            asked: self.asked.select(ndarray::Axis(0), columns),
            reach: columns.iter().map(|&column| self.reach[column].clone()).collect(),
        }
    }
}
