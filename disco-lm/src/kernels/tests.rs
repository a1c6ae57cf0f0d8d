//! The kernels for CPU memory against Burn's own operations.

use burn::tensor::{Device, activation};
use disco_tuner::{Adam, Optimizer, Update};

use crate::{
    device::host::is_in_cpu_memory,
    kernels::{adam::AdamStep, *},
    training::adam::apply,
};

/// A tensor of large and small, positive and negative elements.
fn some<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let elements: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1009) as f32 / 40.0 - 12.0).collect();
    Tensor::from_data(TensorData::new(elements, shape), &Device::flex())
}

fn assert_close<const D: usize>(one: Tensor<D>, other: Tensor<D>) {
    let [one, other] = [one, other].map(Tensor::into_data);
    for (one, other) in values(&one).iter().zip(values(&other)) {
        assert!((one - other).abs() <= 1e-6 * other.abs().max(1e-3), "{one} is not {other}");
    }
}

#[test]
fn tensors_of_a_graph_are_left_to_burn() {
    assert!(is_in_cpu_memory(&some([1, 1])));
    assert!(!is_in_cpu_memory(&some([1, 1]).autodiff()));
    assert!(!crate::testing::on_other_device(|| is_in_cpu_memory(&some([1, 1]))));
}

#[test]
fn the_gate_is_burns() {
    let both = some([5, 2 * 96]);
    let expected = activation::silu(both.clone().narrow(1, 0, 96)) * both.clone().narrow(1, 96, 96);
    let [inner, same] = gated_silu(both.clone());
    assert_close(inner, expected);
    assert_close(same, both);
}

#[test]
fn far_gates_are_finite() {
    let both = TensorData::new(vec![-1e30f32, 1e30, f32::NEG_INFINITY, 1.0, 1.0, 1.0], [1, 6]);
    let [inner, _] = gated_silu(Tensor::from_data(both, &Device::flex()));
    let inner = inner.into_data();
    let [far, near, lost] = values(&inner) else { panic!("three elements") };
    assert!(far.abs() < 1e-7 && *near == 1e30 && lost.is_infinite(), "{far} {near} {lost}");
}

#[test]
fn the_norm_is_its_formula() {
    let (x, scale) = (some([7, 100]), some([1, 100]));
    let mean_square = (x.clone() * x.clone()).mean_dim(1);
    let expected = x.clone() * (mean_square + 1e-5).sqrt().recip() * scale.clone();
    assert_close(rms_norm(x, &scale, 1e-5), expected);
}

#[test]
fn the_rotation_is_its_formula_even_of_a_part() {
    let (x, cos, sin) = (some([6, 5, 8]).narrow(1, 1, 3), some([6, 1, 8]), some([6, 1, 8]));
    let swapped = Tensor::cat(vec![x.clone().narrow(2, 4, 4), x.clone().narrow(2, 0, 4)], 2);
    let expected = x.clone() * cos.clone() + swapped * sin.clone();
    assert_close(rotate(x, &cos, &sin), expected);
}

/// The kernel and Burn's operations add and multiply in the same order, so they give the same bits.
#[test]
fn adam_is_burns_to_the_bit() {
    let adam = Adam { weight_decay: 0.1, ..Adam::default() };
    let update = Update { optimizer: Optimizer::AdamW(adam), learning_rate: 0.01, max_gradient_norm: None };
    let run = |penalised: bool| {
        let (mut w, mut m, mut v) = (some([300, 70]), some([300, 70]) * 0.0, some([300, 70]) * 0.0);
        for steps in 1..=3 {
            let step = AdamStep::new(&adam, &update, 0.7, steps);
            let step = if penalised { step.penalised(0.1) } else { step.decayed(0.1) };
            w = apply(&step, w, some([300, 70]) * (steps as f32 - 1.5), &mut m, &mut v);
        }
        [w, m, v].map(Tensor::into_data)
    };
    for penalised in [false, true] {
        assert_eq!(run(penalised), crate::testing::on_other_device(|| run(penalised)));
    }
}

#[test]
fn the_sum_of_squares_is_exact_enough_and_gives_the_tensor_back() {
    let x = some([211, 97]);
    let data = x.to_data();
    let exact: f64 = values(&data).iter().map(|x| f64::from(*x).powi(2)).sum();
    let (sum, same) = square_sum(x);
    assert!((sum / exact - 1.0).abs() < 1e-6, "{sum} is not {exact}");
    assert_eq!(same.into_data(), data);
}

/// Matmuls of matrices and of views of matrices: small ones, and ones that are split among threads.
#[test]
fn products_are_burns() {
    let close = |one: Tensor<2>, other: Tensor<2>, terms: usize| {
        let [one, other] = [one, other].map(Tensor::into_data);
        let largest = values(&other).iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
        for (one, other) in values(&one).iter().zip(values(&other)) {
            assert!((one - other).abs() <= terms as f32 * f32::EPSILON * largest, "{one} is not {other}");
        }
    };
    for [rows, terms, columns] in
        [[1, 1, 1], [1, 700, 3], [5, 3, 1], [7, 100, 65], [300, 130, 200], [90, 300, 700]]
    {
        let views = |rows: usize, columns: usize| {
            let wider = some([rows, columns + 3]).narrow(1, 2, columns);
            let lower = some([rows + 2, columns]).narrow(0, 1, rows);
            [some([rows, columns]), some([columns, rows]).transpose(), wider, lower]
        };
        for x in views(rows, terms) {
            for w in views(terms, columns) {
                let expected = x.clone().matmul(w.clone());
                close(matmul(x.clone(), w.clone()), expected.clone(), terms);
                let held = some([rows, columns]);
                let mut sum = Some(held.clone());
                add_matmul(&mut sum, x.clone(), w.clone());
                close(sum.clone().expect("a sum"), held + expected.clone(), terms);
                add_matmul(&mut sum, x.clone(), w);
                close(sum.expect("a sum"), some([rows, columns]) + expected.clone() + expected, terms);
            }
        }
    }
}

/// To the bit: every element is the same sum in the same order, whatever else is computed with it and however often the
/// result is split.
#[test]
fn products_do_not_depend_on_what_else_is_computed() {
    for [rows, terms, columns] in [[77, 1000, 130], [130, 1000, 77], [500, 33, 300]] {
        let (x, w) = (some([rows, terms]), some([columns, terms]));
        let all = matmul(x.clone(), w.clone().transpose());
        let turned = matmul(w.clone(), x.clone().transpose()).transpose();
        assert_eq!(turned.into_data(), all.clone().into_data(), "the other way round");
        let packed = matmul(x.clone(), Tensor::from_data(w.clone().transpose().into_data(), &Device::flex()));
        assert_eq!(packed.into_data(), all.clone().into_data(), "a matrix in the other order");
        for row in [0, rows / 2, rows - 1] {
            let one = matmul(x.clone().narrow(0, row, 1), w.clone().transpose());
            assert_eq!(one.into_data(), all.clone().narrow(0, row, 1).into_data(), "row {row}");
        }
        for column in [0, columns - 1] {
            let one = matmul(x.clone(), w.clone().narrow(0, column, 1).transpose());
            assert_eq!(one.into_data(), all.clone().narrow(1, column, 1).into_data(), "column {column}");
        }
    }
}

#[test]
fn products_of_nothing_are_empty_or_zero() {
    assert_eq!(matmul(some([0, 3]), some([3, 2])).dims(), [0, 2]);
    let mut sum = Some(some([2, 2]));
    add_matmul(&mut sum, some([2, 0]), some([0, 2]));
    assert_close(sum.expect("a sum"), some([2, 2]));
}
