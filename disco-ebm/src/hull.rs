//! The point of the convex hull of the sampled features nearest to the targets.

use ndarray::{Array1, Array2};

use crate::{Dual, linalg::Cholesky};

/// Two points nearer to each other than this share of the hull's size count as one.
const SAME: f64 = 1e-9;

/// The moments nearest to the targets among those that the points allow.
pub(crate) struct Nearest {
    /// The direction from the nearest moments to the targets, if these are outside: it separates them. Standardised.
    pub(crate) direction: Option<Array1<f64>>,
    /// The nearest moments, standardised.
    pub(crate) moments: Array1<f64>,
}

/// A point of the difference between hull and box of targets, and the point of the hull it comes from.
struct Vertex {
    difference: Array1<f64>,
    moments: Array1<f64>,
}

/// Wolfe's algorithm (1976) for the point of least norm in `{x - y}`, with `x` in the mean over contexts of
/// the convex hulls of the points' features, and `y` in the box of the targets.
///
/// Distances are in units of the features' ranges. `None` if the iterations were used up
/// without an answer. Each iteration costs one pass over the points, and a linear system of at most the
/// dimension plus one.
pub(crate) fn nearest(dual: &Dual) -> Option<Nearest> {
    let d = dual.dimension();
    let mut corral = vec![vertex(dual, &-&dual.standard.asked)];
    let mut weights = vec![1.0];
    for _ in 0..1000 + 50 * d {
        let point = combine(&corral, &weights, |vertex| &vertex.difference);
        let norm = point.dot(&point);
        let size = corral.iter().map(|vertex| vertex.difference.dot(&vertex.difference)).fold(0.0, f64::max);
        let moments = || combine(&corral, &weights, |vertex| &vertex.moments);
        if norm <= SAME * SAME * size {
            return Some(Nearest { direction: None, moments: moments() });
        }
        let lowest = vertex(dual, &point);
        let below = point.dot(&lowest.difference);
        if below >= norm - 1e-12 * size {
            // `below > 0` proves the separation, however well the point was found.
            let direction = (below > SAME * (norm * size).sqrt()).then(|| -point);
            return Some(Nearest { direction, moments: moments() });
        }
        corral.push(lowest);
        weights.push(0.0);
        shrink(&mut corral, &mut weights)?;
    }
    None
}

/// Wolfe's minor cycle: moves to the point of least norm in the affine hull of the corral, dropping the
/// points whose weight would become negative.
fn shrink(corral: &mut Vec<Vertex>, weights: &mut Vec<f64>) -> Option<()> {
    loop {
        let affine = affine_minimiser(corral)?;
        if affine.iter().all(|weight| *weight > 1e-13) {
            *weights = affine;
            return Some(());
        }
        let step = weights
            .iter()
            .zip(&affine)
            .filter(|(_, affine)| **affine <= 1e-13)
            .map(|(weight, affine)| weight / (weight - affine))
            .fold(1.0, f64::min);
        let moved: Vec<f64> = weights.iter().zip(&affine).map(|(w, a)| w + step * (a - w)).collect();
        let least = moved.iter().copied().fold(f64::INFINITY, f64::min).max(1e-13);
        let kept: Vec<bool> = moved.iter().map(|weight| *weight > least).collect();
        if !kept.contains(&true) {
            return None;
        }
        let mut keep = kept.iter();
        corral.retain(|_| *keep.next().expect("one flag per vertex"));
        *weights =
            moved.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(weight, _)| weight).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        if corral.len() == 1 {
            return Some(());
        }
    }
}

/// Weights summing to 1 for the point of least norm in the affine hull: `u / sum u` with
/// `(1 1' + G) u = 1`, `G` the matrix of inner products.
fn affine_minimiser(corral: &[Vertex]) -> Option<Vec<f64>> {
    let n = corral.len();
    let size = corral.iter().map(|vertex| vertex.difference.dot(&vertex.difference)).fold(1e-300, f64::max);
    let gram =
        Array2::from_shape_fn((n, n), |(i, j)| 1.0 + corral[i].difference.dot(&corral[j].difference) / size);
    let solved = Cholesky::shifted(&gram)?.solve(&Array1::ones(n));
    let sum = solved.sum();
    Some(solved.iter().map(|weight| weight / sum).collect())
}

fn combine(corral: &[Vertex], weights: &[f64], of: impl Fn(&Vertex) -> &Array1<f64>) -> Array1<f64> {
    let mut sum = Array1::zeros(of(&corral[0]).len());
    for (vertex, weight) in corral.iter().zip(weights) {
        sum.scaled_add(*weight, of(vertex));
    }
    sum
}

/// The vertex least in `direction`: in each context the point least along it, less the corner of the box
/// that is most along it.
fn vertex(dual: &Dual, direction: &Array1<f64>) -> Vertex {
    let linear = dual.linear(direction);
    let mut moments = Array1::zeros(dual.dimension());
    for (context, rows) in dual.ranges_of_contexts() {
        let start = rows.start;
        let least = rows.fold(start, |least, row| if linear[row] < linear[least] { row } else { least });
        moments.scaled_add(dual.shares[context], &dual.values.row(least));
    }
    let corner = &dual.standard.asked + dual.tolerances() * direction.mapv(f64::signum);
    Vertex { difference: &moments - &corner, moments }
}
