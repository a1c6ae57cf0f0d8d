//! The proximal Newton step, for moments with a tolerance.

use ndarray::{Array1, Array2};

use crate::linalg::Cholesky;

/// Sweeps of coordinate descent between attempts to solve for the free coefficients directly.
const SWEEPS: usize = 10;
/// Attempts before the step of coordinate descent is taken as it is: the line search makes it safe.
const MAX_ATTEMPTS: usize = 200;

/// The minimiser of `g'd + d'Hd/2 + sum_i tolerance_i |lambda_i + d_i|`.
///
/// Coordinate descent finds which `lambda_i + d_i` are zero and the signs of the others; given those, the
/// step solves a linear system, and is accepted if it satisfies the conditions of optimality.
pub(crate) fn step(
    hessian: &Array2<f64>,
    gradient: &Array1<f64>,
    lambda: &Array1<f64>,
    tolerances: &Array1<f64>,
) -> Array1<f64> {
    let d = lambda.len();
    let mut hessian = hessian.clone();
    // Where the dual is flat in `f64`, a step is long, but finite.
    let largest = hessian.diag().iter().copied().fold(f64::MIN_POSITIVE.sqrt(), f64::max);
    hessian.diag_mut().mapv_inplace(|value| value + 1e-13 * largest);
    let mut next = lambda.clone();
    let mut slope = gradient.clone();
    for _ in 0..MAX_ATTEMPTS {
        for _ in 0..SWEEPS {
            for i in 0..d {
                let curvature = hessian[[i, i]];
                let free = next[i] - slope[i] / curvature;
                let moved = soft_threshold(free, tolerances[i] / curvature) - next[i];
                if moved != 0.0 {
                    next[i] += moved;
                    slope.scaled_add(moved, &hessian.column(i));
                }
            }
        }
        if let Some(exact) = solve_free(&hessian, gradient, lambda, tolerances, &next) {
            return exact - lambda;
        }
    }
    next - lambda
}

fn soft_threshold(value: f64, threshold: f64) -> f64 {
    value.signum() * (value.abs() - threshold).max(0.0)
}

/// The minimiser with the zeros and signs of `guess`, if it has them and is optimal.
fn solve_free(
    hessian: &Array2<f64>,
    gradient: &Array1<f64>,
    lambda: &Array1<f64>,
    tolerances: &Array1<f64>,
    guess: &Array1<f64>,
) -> Option<Array1<f64>> {
    let free: Vec<usize> = (0..guess.len()).filter(|&i| guess[i] != 0.0).collect();
    let mut next = Array1::zeros(guess.len());
    if !free.is_empty() {
        // Zeros of the guess contribute H d with d = -lambda.
        let at_zero = gradient - &hessian.dot(lambda);
        let right: Array1<f64> =
            free.iter().map(|&i| -(at_zero[i] + tolerances[i] * guess[i].signum())).collect();
        let block = Array2::from_shape_fn((free.len(), free.len()), |(i, j)| hessian[[free[i], free[j]]]);
        let solved = Cholesky::new(&block)?.solve(&right);
        for (&i, &value) in free.iter().zip(&solved) {
            if value == 0.0 || (tolerances[i] > 0.0 && value.signum() != guess[i].signum()) {
                return None;
            }
            next[i] = value;
        }
    }
    let slope = gradient + &hessian.dot(&(&next - lambda));
    let optimal = (0..guess.len())
        .filter(|&i| next[i] == 0.0)
        .all(|i| slope[i].abs() <= tolerances[i] * (1.0 + 1e-9) + f64::MIN_POSITIVE);
    optimal.then_some(next)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn satisfies_the_conditions_of_optimality() {
        let hessian = array![[1.0, 0.3, 0.1], [0.3, 2.0, -0.4], [0.1, -0.4, 0.7]];
        let (gradient, lambda) = (array![0.9, -0.2, 0.05], array![0.1, 0.0, -0.3]);
        let tolerances = array![0.1, 0.6, 0.0];
        let next = &lambda + &step(&hessian, &gradient, &lambda, &tolerances);
        let slope = &gradient + &hessian.dot(&(&next - &lambda));
        assert_eq!(next[1], 0.0);
        assert!(slope[1].abs() <= 0.6);
        assert!((slope[0] + 0.1 * next[0].signum()).abs() < 1e-12);
        assert!(slope[2].abs() < 1e-12);
    }
}
