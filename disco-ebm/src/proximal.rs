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
    active_set(&hessian, gradient, lambda, tolerances).unwrap_or(next) - lambda
}

/// The minimiser by feature-sign search (Lee, Battle, Raina and Ng 2006), from zero: coefficients enter one at a time, the one
/// whose slope is the farthest beyond its tolerance first, and leave where they change their sign.
///
/// Of features that are combinations of each other, only as many enter as there are independent ones; coordinate descent
/// would move along the flat valley between them at the pace of their tolerance.
fn active_set(
    hessian: &Array2<f64>,
    gradient: &Array1<f64>,
    lambda: &Array1<f64>,
    tolerances: &Array1<f64>,
) -> Option<Array1<f64>> {
    let d = lambda.len();
    let at_zero = gradient - &hessian.dot(lambda);
    let mut next = Array1::<f64>::zeros(d);
    let mut signs = Array1::<f64>::zeros(d);
    let mut free: Vec<usize> = (0..d).filter(|&i| tolerances[i] == 0.0).collect();
    for _ in 0..100 + 50 * d {
        let block = Array2::from_shape_fn((free.len(), free.len()), |(i, j)| hessian[[free[i], free[j]]]);
        let right: Array1<f64> = free.iter().map(|&i| -(at_zero[i] + tolerances[i] * signs[i])).collect();
        let mut wanted = Array1::<f64>::zeros(d);
        free.iter().zip(&Cholesky::new(&block)?.solve(&right)).for_each(|(&i, value)| wanted[i] = *value);
        // The first coefficient that would change its sign on the way.
        let crosses = |&&i: &&usize| tolerances[i] > 0.0 && wanted[i] * signs[i] <= 0.0;
        let length = |i: usize| if next[i] == 0.0 { 0.0 } else { next[i] / (next[i] - wanted[i]) };
        let first = free.iter().filter(crosses).map(|&i| (length(i), i)).min_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((length, leaves)) = first {
            next = &next + &((&wanted - &next) * length);
            next[leaves] = 0.0;
            free.retain(|&i| i != leaves);
            continue;
        }
        next = wanted;
        let slope = &at_zero + &hessian.dot(&next);
        let beyond = |i: usize| slope[i].abs() - tolerances[i] * (1.0 + 1e-9) - f64::MIN_POSITIVE;
        let bound = (0..d).filter(|i| !free.contains(i) && beyond(*i) > 0.0);
        let Some(enters) = bound.max_by(|&a, &b| beyond(a).total_cmp(&beyond(b))) else { return Some(next) };
        signs[enters] = -slope[enters].signum();
        free.push(enters);
    }
    None
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
