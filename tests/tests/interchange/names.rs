//! Names and shapes of the backbones, compared with torchvision's own list.

use std::collections::BTreeMap;

use bissl::network::{Architecture, BackboneSettings, Stem, backbone};

/// Printed by `tests/peers/run interchange names`.
const TORCHVISION: &str = include_str!("torchvision.txt");

/// The number of parameters, and the shapes by name; a counter has no shape and is left out.
fn torchvisions(architecture: &str) -> (usize, BTreeMap<&str, Vec<usize>>) {
    let mut lines = TORCHVISION.lines().skip_while(|line| !line.starts_with(architecture));
    let head = lines.next().expect("the list has the architecture");
    let count = head.rsplit_once(' ').unwrap().1.parse().unwrap();
    let tensors = lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, shape)| (name, shape.split(',').map(|size| size.parse().unwrap()).collect()))
        .collect();
    (count, tensors)
}

#[test]
fn backbones_have_torchvisions_names_shapes_and_numbers_of_parameters() {
    for (name, architecture) in [
        ("[resnet18]", Architecture::ResNet18),
        ("[resnet34]", Architecture::ResNet34),
        ("[resnet50]", Architecture::ResNet50),
    ] {
        let (count, expected) = torchvisions(name);
        let settings = BackboneSettings { architecture, width: 64, stem: Stem::ImageNet };
        let network = backbone(settings);
        assert_eq!(network.parameters().len(), count, "{name}");
        let tables = [network.parameters(), network.statistics()];
        let found: BTreeMap<_, _> = tables
            .into_iter()
            .flat_map(|table| table.segments())
            .map(|segment| (segment.name.as_str(), segment.shape.clone()))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}
