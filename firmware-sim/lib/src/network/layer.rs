//! The four passes that a Hessian-vector product needs, and their composition.

use bissl_core::Draws;

use crate::{Blank, Kernels, Pair, Real, Vector};

/// A differentiable map of a batch, with the four passes of Pearlmutter (1994).
///
/// Dots mark tangents (directional derivatives), bars mark cotangents (gradients of the loss). A
/// *trace* holds what a pass leaves inside the layer; values, tangents, cotangents and tangents of
/// cotangents each have one, all of the same shape. `None` in a [`Direction`] is a tangent of zero,
/// `None` in a [`Gradient`] a result that nobody wants: neither costs a product.
pub trait Layer<T: Real>: Sized {
    /// Samples in.
    type Input: Blank;
    /// Samples out.
    type Output: Blank;
    /// θ.
    type Parameters: Vector<T>;
    /// What is kept between the layer's parts.
    type Trace: Blank;

    /// Weights uniform within a limit that the activation decides, biases 0.
    fn initialize(parameters: &mut Self::Parameters, draws: &mut Draws);

    /// `y = f(x, θ)`.
    fn forward<K: Kernels<T>>(
        kernels: &mut K,
        parameters: &Self::Parameters,
        input: &Self::Input,
        trace: &mut Self::Trace,
        output: &mut Self::Output,
    );

    /// `ẏ = f_x ẋ + f_θ θ̇`.
    fn tangent<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        direction: Direction<'_, T, Self>,
        trace: &mut Self::Trace,
        output: &mut Self::Output,
    );

    /// `x̄ = f_xᵀ ȳ`, `θ̄ = f_θᵀ ȳ`.
    ///
    /// `output` is ȳ on entry; on return, and in `trace`, the cotangents before the activations.
    fn backward<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        output: &mut Self::Output,
        trace: &mut Self::Trace,
        gradient: Gradient<'_, T, Self>,
    );

    /// The tangents of x̄ and θ̄ as x, θ and ȳ move.
    ///
    /// `backward` is what that pass left, `output` the tangent of ȳ on entry and scratch on return.
    fn backward_tangent<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        moved: Moved<'_, T, Self>,
        backward: Passed<'_, T, Self>,
        output: &mut Self::Output,
        trace: &mut Self::Trace,
        gradient: Gradient<'_, T, Self>,
    );
}

/// Where a layer was evaluated.
pub struct Point<'a, T: Real, L: Layer<T>> {
    /// θ.
    pub parameters: &'a L::Parameters,
    /// x.
    pub input: &'a L::Input,
    /// What the forward pass left.
    pub trace: &'a L::Trace,
    /// y.
    pub output: &'a L::Output,
}

/// How input and parameters move.
pub struct Direction<'a, T: Real, L: Layer<T>> {
    /// ẋ; `None`: it does not move.
    pub input: Option<&'a L::Input>,
    /// θ̇; `None`: they do not move.
    pub parameters: Option<&'a L::Parameters>,
}

/// How input, parameters and everything inside move.
pub struct Moved<'a, T: Real, L: Layer<T>> {
    /// ẋ and θ̇.
    pub direction: Direction<'a, T, L>,
    /// What the tangent pass left.
    pub trace: &'a L::Trace,
}

/// What a backward pass left.
pub struct Passed<'a, T: Real, L: Layer<T>> {
    /// The output's cotangent before the activation.
    pub output: &'a L::Output,
    /// Those inside.
    pub trace: &'a L::Trace,
}

/// Where cotangents go; overwritten.
pub struct Gradient<'a, T: Real, L: Layer<T>> {
    /// x̄.
    pub input: Option<&'a mut L::Input>,
    /// θ̄.
    pub parameters: Option<&'a mut L::Parameters>,
}

/// Two layers in sequence.
#[derive(Clone, Copy, Debug)]
pub struct Chain<A, B>(core::marker::PhantomData<(A, B)>);

/// What a [`Chain`] keeps: the traces of both and what passes between them.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainTrace<S, M, U> {
    first: S,
    middle: M,
    second: U,
}

impl<S: Blank, M: Blank, U: Blank> Blank for ChainTrace<S, M, U> {
    const BLANK: Self = Self { first: S::BLANK, middle: M::BLANK, second: U::BLANK };
}

impl<T, A, B> Layer<T> for Chain<A, B>
where
    T: Real,
    A: Layer<T>,
    B: Layer<T, Input = A::Output>,
{
    type Input = A::Input;
    type Output = B::Output;
    type Parameters = Pair<A::Parameters, B::Parameters>;
    type Trace = ChainTrace<A::Trace, A::Output, B::Trace>;

    fn initialize(parameters: &mut Self::Parameters, draws: &mut Draws) {
        A::initialize(&mut parameters.first, draws);
        B::initialize(&mut parameters.second, draws);
    }

    fn forward<K: Kernels<T>>(
        kernels: &mut K,
        parameters: &Self::Parameters,
        input: &Self::Input,
        trace: &mut Self::Trace,
        output: &mut Self::Output,
    ) {
        A::forward(kernels, &parameters.first, input, &mut trace.first, &mut trace.middle);
        B::forward(kernels, &parameters.second, &trace.middle, &mut trace.second, output);
    }

    fn tangent<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        direction: Direction<'_, T, Self>,
        trace: &mut Self::Trace,
        output: &mut Self::Output,
    ) {
        let (first, second) = split(&at);
        let parameters = direction.parameters.map(|p| &p.first);
        let moved = Direction { input: direction.input, parameters };
        A::tangent(kernels, first, moved, &mut trace.first, &mut trace.middle);
        let parameters = direction.parameters.map(|p| &p.second);
        let moved = Direction { input: Some(&trace.middle), parameters };
        B::tangent(kernels, second, moved, &mut trace.second, output);
    }

    fn backward<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        output: &mut Self::Output,
        trace: &mut Self::Trace,
        gradient: Gradient<'_, T, Self>,
    ) {
        let (first, second) = split(&at);
        let ChainTrace { first: inner, middle, second: outer } = trace;
        let (for_first, parameters) = halves(gradient.parameters);
        let wanted = Gradient { input: Some(&mut *middle), parameters };
        B::backward(kernels, second, output, outer, wanted);
        let wanted = Gradient { input: gradient.input, parameters: for_first };
        A::backward(kernels, first, middle, inner, wanted);
    }

    fn backward_tangent<K: Kernels<T>>(
        kernels: &mut K,
        at: Point<'_, T, Self>,
        moved: Moved<'_, T, Self>,
        backward: Passed<'_, T, Self>,
        output: &mut Self::Output,
        trace: &mut Self::Trace,
        gradient: Gradient<'_, T, Self>,
    ) {
        let (first, second) = split(&at);
        let ChainTrace { first: inner, middle, second: outer } = trace;
        let Direction { input, parameters } = moved.direction;
        let (for_first, for_second) = halves(gradient.parameters);

        let direction = Direction {
            input: Some(&moved.trace.middle),
            parameters: parameters.map(|p| &p.second),
        };
        let moved_second = Moved { direction, trace: &moved.trace.second };
        let passed = Passed { output: backward.output, trace: &backward.trace.second };
        let wanted = Gradient { input: Some(&mut *middle), parameters: for_second };
        B::backward_tangent(kernels, second, moved_second, passed, output, outer, wanted);

        let direction = Direction { input, parameters: parameters.map(|p| &p.first) };
        let moved_first = Moved { direction, trace: &moved.trace.first };
        let passed = Passed { output: &backward.trace.middle, trace: &backward.trace.first };
        let wanted = Gradient { input: gradient.input, parameters: for_first };
        A::backward_tangent(kernels, first, moved_first, passed, middle, inner, wanted);
    }
}

/// The points of the two parts.
fn split<'a, T, A, B>(at: &Point<'a, T, Chain<A, B>>) -> (Point<'a, T, A>, Point<'a, T, B>)
where
    T: Real,
    A: Layer<T>,
    B: Layer<T, Input = A::Output>,
{
    let ChainTrace { first, middle, second } = at.trace;
    let Pair { first: parameters_a, second: parameters_b } = at.parameters;
    (
        Point { parameters: parameters_a, input: at.input, trace: first, output: middle },
        Point { parameters: parameters_b, input: middle, trace: second, output: at.output },
    )
}

fn halves<A, B>(pair: Option<&mut Pair<A, B>>) -> (Option<&mut A>, Option<&mut B>) {
    match pair {
        Some(Pair { first, second }) => (Some(first), Some(second)),
        None => (None, None),
    }
}
