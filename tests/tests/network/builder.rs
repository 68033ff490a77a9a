//! What a builder refuses, and what it makes of what it takes.

use bissl::network::{Architecture, Builder, Conv, Curvature, Shape, Stem, backbone, feature_maps};
use burn_tensor::Tensor;

use crate::backend::B;
use crate::open_layer::{Tokens, own_backbone};
use crate::support::{Case, random, resnet, values};

#[test]
fn a_layer_that_does_not_fit_is_named_with_what_was_found_and_expected() {
    let start = || Builder::new([3, 8, 8]).conv("stem", 4, 3, 2);
    let wide = |builder: Builder| builder.conv("wide", 6, 3, 1);
    for (builder, expected) in [
        (
            start().layer("mean", Tokens::Mean).conv("not reached", 0, 0, 0),
            "layer 1, \"mean\": found 4 maps of 4x4, expected tokens",
        ),
        (
            start().layer("split", Tokens::Split).batch_norm("norm"),
            "layer 2, \"norm\": found 16 tokens of width 4, expected feature maps",
        ),
        (
            start().layer("valid", Conv::valid(2, [5, 1], [1, 1])),
            "layer 1, \"valid\": found 4 maps of 4x4, expected a kernel of 5x1 in each map",
        ),
        (
            start().residual(wide),
            "layer 2, \"residual sum\": found 6 maps of 4x4 beside a shortcut of 4 maps of 4x4, \
             expected two branches of one shape",
        ),
        (
            start().relu().conv("stem", 4, 1, 1),
            "layer 2, \"stem\": found a second tensor \"stem.weight\", expected a name of its own",
        ),
        (
            Builder::new(Shape::any_size(3)).linear("fc", 2),
            "layer 0, \"fc\": found 3 maps of any size, expected maps of a known size",
        ),
        (
            start().max_pool(2, 1, 2),
            "layer 1, \"max-pool\": found MaxPool { kernel: 2, stride: 1, padding: 2 }, \
             expected a stride from 1 and a padding below the kernel",
        ),
        (
            start().max_pool(5, 1, 0),
            "layer 1, \"max-pool\": found 4 maps of 4x4, expected a window of 5x5 in each map",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    }
    let error = start().conv("none", 0, 3, 1).build().unwrap_err();
    assert_eq!((error.slot, error.layer.as_str()), (1, "none"));
    assert_eq!(error.reason.expected, "channels, kernel and stride from 1");
}

#[test]
fn shapes_are_those_of_the_values() {
    let network = own_backbone();
    let p: Tensor<B, 1> = random(1, [network.parameters().len()]);
    let y = network.forward(&p, random(2, [2, 3, 8, 8])).y;
    assert_eq!(y.dims(), [2, 5, 1, 1]);
    for (kernel, stride, padding) in [(3, 2, 1), (2, 2, 0), (2, 3, 1)] {
        for (height, width) in [(7, 9), (8, 8)] {
            let builder = Builder::new([2, height, width]);
            let builder = builder.conv("c", 3, 3, 2).max_pool(kernel, stride, padding);
            let network = builder.layer("v", Conv::valid(4, [1, 2], [2, 1])).build().unwrap();
            let p: Tensor<B, 1> = random(1, [network.parameters().len()]);
            let [_, dims @ ..] = network.forward(&p, random(2, [2, 2, height, width])).y.dims();
            assert_eq!(Shape::from(dims), network.output_shape());
        }
    }
}

#[test]
fn maps_pooled_by_the_head_change_no_bit() {
    let settings = resnet(Architecture::ResNetSmall, 4, Stem::Small);
    let (pooled, maps) = (backbone(settings), feature_maps(settings));
    assert_eq!(pooled.parameters(), maps.parameters());
    assert_eq!(pooled.statistics(), maps.statistics());
    assert_eq!(pooled.output_shape(), Shape::features(16));
    assert_eq!(maps.output_shape(), Shape::any_size(16));

    let linear = |builder: Builder| builder.linear("0", 5).build().unwrap();
    let heads = [
        linear(Builder::new(pooled.output_shape())),
        linear(Builder::new(maps.output_shape()).average_pool()),
    ];
    let [of_pooled, of_maps] = heads;
    let shape = [4, 3, 8, 8];
    let cases =
        [Case::<B>::of(pooled, of_pooled, shape, 0.3, 1), Case::of(maps, of_maps, shape, 0.3, 1)];
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let [pooled, maps] = cases.each_ref().map(|case| {
            let at = case.linearize(curvature);
            (at.value(), values(at.gradient().unwrap()), values(&at.product(&case.direction(2))))
        });
        assert_eq!(pooled, maps, "{curvature:?}");
    }
}
