//! A large sorted sample, compressed to nodes of a quadrature.

use std::{f64::consts::PI, ops::Range};

use crate::proposal_masses::ProposalMasses;

/// Nodes per cell.
const NODES: usize = 8;
/// The widest cell (nats). A function that is analytic within `pi` of the real axis, as every divergence's
/// generator is in `ln(P/q)`, is interpolated to below 1e-13 of its size over such a cell.
const WIDTH: f64 = 0.125;

/// A mass at a `ln(P/q)`: `mass exp(log_unit)`, which may underflow as one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QuadratureNode {
    pub(crate) log_ratio: f64,
    pub(crate) mass: f64,
    pub(crate) log_unit: f64,
}

/// Replaces the sorted points from position `first` on, each with its mass, by few nodes, so that
/// `sum_i g_i F(r_i)` is `sum_j mass_j F(r_j)` for every function `F` that is analytic between consecutive `edges`.
///
/// The points are cut into cells at the edges and every [`WIDTH`] nats. In a cell, `F` is interpolated at Chebyshev
/// nodes, so that its sum needs only the sums of the first Chebyshev polynomials over the points. A cell of few
/// different points is kept as it is. Masses may come out slightly negative; nodes are in ascending order.
pub(crate) fn compress(
    sorted: &[f64],
    masses: &ProposalMasses,
    first: usize,
    edges: &[f64],
) -> Vec<QuadratureNode> {
    let mut nodes = Vec::new();
    let mut start = first;
    while start < sorted.len() {
        let cell = (sorted[start] / WIDTH).floor();
        let edge = edges.partition_point(|edge| *edge < sorted[start]);
        // Cells contain their upper edge, as "w <= beta" does.
        let end = edges.get(edge).copied().unwrap_or(f64::INFINITY);
        let upper = (cell + 1.0) * WIDTH;
        let length = sorted[start..].partition_point(|log_ratio| *log_ratio <= end && *log_ratio < upper);
        // At least itself, also where a huge |ln(P/q)| swallows the width of a cell.
        let stop = start + length.max(1);
        compress_cell(sorted, masses, start..stop, &mut nodes);
        start = stop;
    }
    nodes
}

fn compress_cell(
    sorted: &[f64],
    masses: &ProposalMasses,
    cell: Range<usize>,
    nodes: &mut Vec<QuadratureNode>,
) {
    let (points, start, log_unit) = (&sorted[cell.clone()], cell.start, masses.log_unit(cell));
    let mass = |i: usize| masses.in_unit(start + i, log_unit);
    if let Some(atoms) = few_different(points, mass, log_unit) {
        nodes.extend(atoms);
        return;
    }
    let (low, high) = (points[0], points[points.len() - 1]);
    let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
    // sums[k] = sum_i g_i T_k(x_i), T_{k+1} = 2 x T_k - T_{k-1}.
    let mut sums = [0.0; NODES];
    for (i, point) in points.iter().enumerate() {
        let x = (point - centre) / half;
        let (mut last, mut this) = (mass(i), mass(i) * x);
        sums[0] += last;
        sums[1] += this;
        for sum in &mut sums[2..] {
            (last, this) = (this, 2.0 * x * this - last);
            *sum += this;
        }
    }
    for j in (0..NODES).rev() {
        let angle = PI * (j as f64 + 0.5) / NODES as f64;
        let weight = sums[0] + 2.0 * (1..NODES).map(|k| sums[k] * (k as f64 * angle).cos()).sum::<f64>();
        let log_ratio = centre + half * angle.cos();
        nodes.push(QuadratureNode { log_ratio, mass: weight / NODES as f64, log_unit });
    }
}

/// The different points with their masses, if there are no more than [`NODES`].
fn few_different(points: &[f64], mass: impl Fn(usize) -> f64, log_unit: f64) -> Option<Vec<QuadratureNode>> {
    let mut atoms: Vec<QuadratureNode> = Vec::with_capacity(NODES);
    for (i, &log_ratio) in points.iter().enumerate() {
        let full = atoms.len() == NODES;
        match atoms.last_mut() {
            Some(atom) if atom.log_ratio == log_ratio => atom.mass += mass(i),
            _ if full => return None,
            _ => atoms.push(QuadratureNode { log_ratio, mass: mass(i), log_unit }),
        }
    }
    Some(atoms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative to the sum of absolute values: interpolation to 1e-13, and rounding.
    const RELATIVE: f64 = 1e-12;

    #[test]
    fn sums_of_analytic_functions_are_kept() {
        let points: Vec<f64> = (0..20_000).map(|i| 3.0 * (f64::from(i) / 20_000.0).powi(2) - 1.0).collect();
        let nodes = compress(&points, &ProposalMasses::equal(points.len(), 2), 0, &[0.3]);
        assert!(nodes.len() < 300 && nodes.is_sorted_by(|one, other| one.log_ratio < other.log_ratio));
        let functions: [fn(f64) -> f64; 4] = [
            |_| 1.0,
            |r| (2.0 * r).exp(),
            |r| r.exp() * (1.0 + (-r).exp()).ln(),
            // A kink at an edge.
            |r| if r <= 0.3 { 0.0 } else { (r - 0.3) * r.exp() },
        ];
        for function in functions {
            let expected: f64 = points.iter().map(|r| 0.5 * function(*r)).sum();
            let found: f64 =
                nodes.iter().map(|node| node.mass * node.log_unit.exp() * function(node.log_ratio)).sum();
            assert!((found - expected).abs() < RELATIVE * expected, "{found} {expected}");
        }
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let points = [-1e300, -5.0, 0.0, 0.0, 0.0, 1e-9, 40.0, 1e300];
        // Masses of e^-900, which is no f64.
        let nodes = compress(&points, &ProposalMasses::own(vec![-900.0; 8]), 1, &[]);
        let found: Vec<(f64, f64)> = nodes.iter().map(|node| (node.log_ratio, node.mass)).collect();
        assert_eq!(found, [(-5.0, 1.0), (0.0, 3.0), (1e-9, 1.0), (40.0, 1.0), (1e300, 1.0)]);
        assert!(nodes.iter().all(|node| node.log_unit == -900.0));
    }
}
