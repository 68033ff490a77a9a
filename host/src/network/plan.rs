//! The layers of a network in order, with residual sums, and the walks over them.

use std::ops::Range;

use burn_tensor::Tensor;

use super::erased::AnyLayer;
use super::layer::{Cotangents, sum};
use super::parameters::ParameterTable;
use crate::kernels::Kernels;

/// A layer, or a residual sum of two branches.
#[derive(Debug)]
pub(super) enum Node {
    /// The layer at this slot.
    Layer(usize),
    /// `main(x) + shortcut(x)`; an empty shortcut is the identity.
    Residual { main: Vec<Node>, shortcut: Vec<Node> },
}

/// A layer and its part of the tables.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) layer: AnyLayer,
    /// Range of its tensors in the parameters' segments.
    pub(super) parameters: Range<usize>,
    /// Range of its tensors in the statistics' segments.
    pub(super) statistics: Range<usize>,
    /// See [`Layout::piecewise_linear`](super::Layout::piecewise_linear).
    pub(super) is_piecewise_linear: bool,
}

/// What a [`Builder`](super::Builder) collects.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) nodes: Vec<Node>,
    /// The layers in forward order.
    pub(super) slots: Vec<Slot>,
    pub(super) parameters: ParameterTable,
    pub(super) statistics: ParameterTable,
}

/// Walks the nodes from input to output with values.
pub(super) fn compute<B: Kernels>(
    nodes: &[Node],
    x: Tensor<B, 4>,
    pass: &mut impl FnMut(usize, Tensor<B, 4>) -> Tensor<B, 4>,
) -> Tensor<B, 4> {
    nodes.iter().fold(x, |x, node| match node {
        Node::Layer(slot) => pass(*slot, x),
        Node::Residual { main, shortcut } => {
            let y = compute(main, x.clone(), pass);
            B::add(y, &compute(shortcut, x, pass))
        }
    })
}

/// Walks the nodes from input to output with tangents.
pub(super) fn push<B: Kernels>(
    nodes: &[Node],
    x_dot: Option<Tensor<B, 4>>,
    pass: &mut impl FnMut(usize, Option<Tensor<B, 4>>) -> Option<Tensor<B, 4>>,
) -> Option<Tensor<B, 4>> {
    nodes.iter().fold(x_dot, |x_dot, node| match node {
        Node::Layer(slot) => pass(*slot, x_dot),
        Node::Residual { main, shortcut } => {
            let y_dot = push(main, x_dot.clone(), pass);
            sum(y_dot, push(shortcut, x_dot, pass))
        }
    })
}

/// Walks the nodes from output to input and calls `pass` at every layer. The first layer's input
/// cotangent is computed only if `out` asks for it. `T` travels from layer to layer and is added
/// where branches meet.
pub(super) fn descend<B: Kernels, T: Clone>(
    nodes: &[Node],
    y_bar: T,
    out: &mut Cotangents<B>,
    pass: &mut impl FnMut(usize, T, &mut Cotangents<B>) -> Option<T>,
    add: &impl Fn(T, T) -> T,
) -> Option<T> {
    let wants_input = out.wants_input();
    let mut bar = Some(y_bar);
    for (place, node) in nodes.iter().enumerate().rev() {
        let y_bar = bar.take().expect("only the first node's input cotangent is left out");
        out.set_wants_input(place > 0 || wants_input);
        bar = match node {
            Node::Layer(slot) => pass(*slot, y_bar, out),
            Node::Residual { main, shortcut } => {
                let wanted = out.wants_input();
                let through = descend(shortcut, y_bar.clone(), out, pass, add);
                out.set_wants_input(wanted);
                match (descend(main, y_bar, out, pass, add), through) {
                    (Some(main), Some(shortcut)) => Some(add(main, shortcut)),
                    (main, shortcut) => main.or(shortcut),
                }
            }
        };
    }
    out.set_wants_input(wants_input);
    bar
}
