//! The memory table covers the whole device, and the formula of docs/memory.md gives the table.

use bissl_core::Register;
use bissl_firmware::{
    Buffer, Configuration, DigitsDevice, Program, SCALARS, SmallDigitsDevice, memory_table,
};

fn table_adds_up<C: Configuration>() {
    let total: u32 = memory_table::<C>().iter().map(Buffer::total).sum();
    assert_eq!(total as usize, Program::<C>::BYTES);
}

#[test]
fn table_adds_up_to_the_device() {
    table_adds_up::<DigitsDevice>();
    table_adds_up::<SmallDigitsDevice>();
}

/// The formula of docs/memory.md.
fn documented<C: Configuration>() -> usize {
    let model = C::MODEL;
    let layers = |layers: &[bissl_firmware::Layer]| {
        let sum = |of: fn(&bissl_firmware::Layer) -> usize| layers.iter().map(of).sum::<usize>();
        (sum(bissl_firmware::Layer::parameters), sum(bissl_firmware::Layer::outputs))
    };
    let ((n, a_encoder), (n_p, a_projector)) = (layers(model.trained()), layers(model.projector));
    let (f, z, c) = (model.features(), model.embedding(), usize::from(model.classes));
    let n_d = f * c + c;
    let kept = usize::from(model.basis + model.basis_products);
    let (v, w) = (2 * usize::from(model.pretext_batch), 2 * usize::from(model.product_batch));
    let d = usize::from(model.downstream_batch);
    let (i, x) = (model.trained_inputs(), model.input.floats());
    let a = a_encoder + a_projector;
    let registers = (8 + kept) * n + 2 * n_p + 3 * n_d;
    let linearisation = v * (i + 2 * a + 2 * z + v + 1);
    let product = w * (2 * a + 2 * z + w + 1);
    let frozen: usize = layers(model.in_flash()).1;
    let incoming = if model.frozen == 0 { x } else { 2 * x + frozen };
    let downstream = d * (i + 1 + 2 * (a_encoder + c)) + incoming;
    registers + linearisation + product.max(downstream)
}

#[test]
fn documented_formula_is_the_size_of_the_memory() {
    assert_eq!(
        4 * documented::<DigitsDevice>(),
        size_of::<<DigitsDevice as Configuration>::Memory>()
    );
    assert_eq!(
        4 * documented::<SmallDigitsDevice>(),
        size_of::<<SmallDigitsDevice as Configuration>::Memory>()
    );
    // Machine, settings and positions do not depend on the network.
    let rest = |bytes: usize, floats: usize| bytes - 4 * (floats + SCALARS);
    assert_eq!(
        rest(Program::<DigitsDevice>::BYTES, documented::<DigitsDevice>()),
        rest(Program::<SmallDigitsDevice>::BYTES, documented::<SmallDigitsDevice>())
    );
}

#[test]
fn registers_share_memory_only_where_their_lives_do_not_meet() {
    let plan = DigitsDevice::PLAN;
    use Register::{
        Direction, DownstreamHeadDirect, DownstreamHeadGradient, PretextHeadGradient, Product,
        Residual, Solution,
    };
    let parameters = bissl_core::Group::LowerBackbone;
    let lists = [
        // A lower step.
        vec![Residual, Direction, PretextHeadGradient],
        // A solve.
        vec![Solution, Residual, Direction, Product, DownstreamHeadGradient],
        // After the solve.
        vec![Solution, Product, DownstreamHeadGradient, DownstreamHeadDirect],
    ];
    for list in lists {
        let mut spans: Vec<_> = list
            .iter()
            .chain(&[Register::Parameter(parameters), Register::Momentum(parameters)])
            .map(|register| plan.register(*register).unwrap().1.range())
            .collect();
        spans.sort_by_key(|range| range.start);
        for pair in spans.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{list:?}: {pair:?}");
        }
        assert!(spans.last().unwrap().end <= plan.registers.floats);
    }
}
