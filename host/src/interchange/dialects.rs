//! What other programs call things: the one table of names by which backbones are found.
//!
//! A backbone is recognised by its own tensors (`anatomy.rs`), whatever stands before their names
//! and whatever dictionary holds them. The tables here say what the words in front mean: which of
//! several backbones is meant, and which program is likely to have written the file.

/// Which of a method's networks a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Trained by gradients, or the only one.
    Trained,
    /// The average that self-distillation evaluates (DINO, mean teachers).
    Teacher,
    /// What that average is of.
    Student,
    /// A moving average that only makes targets or keys (BYOL, MoCo), or the shadow weights of a
    /// training script.
    Average,
}

/// Words between dots and underscores: `encoder_k`, `momentum_encoder`, `model_ema`.
const ROLES: &[(&str, Role)] = &[
    ("teacher", Role::Teacher),
    ("student", Role::Student),
    ("k", Role::Average),
    ("key", Role::Average),
    ("momentum", Role::Average),
    ("target", Role::Average),
    ("ema", Role::Average),
    ("shadow", Role::Average),
];

/// The role of the network under `location`, keys and prefix joined by dots.
pub(super) fn role(location: &str) -> Role {
    let words = location.split(['.', '_']);
    let mut roles = words.filter_map(|word| ROLES.iter().find(|(known, _)| *known == word));
    roles.next().map_or(Role::Trained, |(_, role)| *role)
}

/// Layers of a ResNet's stem, and of what would change what it computes: a number may follow. Such
/// a name that a backbone lacks is refused; any other beside its layers is a head, or belongs to
/// another network, and is left out.
const LAYERS: &[&str] = &[
    "act",
    "block",
    "blocks",
    "bn",
    "conv",
    "downsample",
    "gn",
    "layer",
    "layers",
    "maxpool",
    "norm",
    "pool",
    "relu",
    "res",
    "stem",
];

/// Whether a name's first part is that of a layer.
pub(super) fn is_layer(part: &str) -> bool {
    LAYERS.contains(&part.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// A program or a method, and parts of names or keys that together tell it. The first whose parts
/// all occur is named; that decides nothing.
const DIALECTS: &[(&str, &[&str])] = &[
    ("VISSL", &["_feature_blocks"]),
    ("DINO", &["student", "teacher"]),
    ("MoCo v3", &["base_encoder", "momentum_encoder"]),
    ("MoCo", &["encoder_q"]),
    ("SwAV", &["projection_head", "prototypes"]),
    ("BYOL", &["online_network"]),
    ("BYOL", &["online_network_state_dict"]),
    ("BYOL", &["online_encoder"]),
    ("BYOL", &["online_net"]),
    ("lightly", &["backbone", "projection_head"]),
    ("solo-learn", &["backbone", "projector", "classifier"]),
    ("solo-learn", &["encoder", "projector", "classifier"]),
    ("Barlow Twins", &["backbone", "projector", "bn"]),
    ("VICReg", &["backbone", "projector"]),
    ("SimSiam", &["encoder", "predictor"]),
    ("OpenMMLab", &["backbone", "neck"]),
    ("SupContrast", &["encoder", "head"]),
];

/// The key of every checkpoint of Lightning.
const LIGHTNING: &str = "pytorch-lightning_version";

/// The programs that are likely to have written a file in which these parts of names occur.
pub(super) fn programs(occurs: impl Fn(&str) -> bool) -> Option<String> {
    let all = |parts: &[&str]| parts.iter().all(|part| occurs(part));
    let named = DIALECTS.iter().find(|(_, parts)| all(parts)).map(|(name, _)| *name);
    let lightning = occurs(LIGHTNING).then_some("Lightning");
    let words: Vec<_> = lightning.into_iter().chain(named).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Networks that are no ResNets, and a part of a name that tells each.
const FAMILIES: &[(&str, &str)] = &[
    ("patch_embed", "a vision transformer"),
    ("cls_token", "a vision transformer"),
    ("class_embedding", "a vision transformer"),
    ("denseblock1", "a DenseNet"),
    ("downsample_layers", "a ConvNeXt"),
    ("embedder", "a network with the names of Hugging Face's transformers"),
    ("res2", "a ResNet with the names of Detectron2"),
    ("features", "a VGG, an AlexNet or a MobileNet"),
];

/// What a file without a ResNet seems to hold.
pub(super) fn family(occurs: impl Fn(&str) -> bool) -> Option<&'static str> {
    FAMILIES.iter().find(|(part, _)| occurs(part)).map(|(_, family)| *family)
}

/// ResNets that bissl does not build: blocks of each stage, whether they are bottlenecks, a name.
const OTHERS: &[(&[usize], bool, &str)] = &[
    (&[2, 2, 2, 2], true, "ResNet-26"),
    (&[3, 4, 23, 3], true, "ResNet-101"),
    (&[3, 8, 36, 3], true, "ResNet-152"),
    (&[3, 3, 3], false, "ResNet-20 for CIFAR"),
    (&[5, 5, 5], false, "ResNet-32 for CIFAR"),
    (&[9, 9, 9], false, "ResNet-56 for CIFAR"),
];

/// The name of a ResNet that bissl does not build.
pub(super) fn other_resnet(blocks: &[usize], is_bottleneck: bool) -> Option<&'static str> {
    let same = |(known, bottleneck, _): &&(&[usize], bool, &'static str)| {
        *known == blocks && *bottleneck == is_bottleneck
    };
    OTHERS.iter().find(same).map(|(_, _, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_told_by_whole_words_alone() {
        for (location, expected) in [
            ("", Role::Trained),
            ("state_dict.module.encoder_q.", Role::Trained),
            ("state_dict.module.encoder_k.", Role::Average),
            ("model_ema.module.", Role::Average),
            ("momentum_backbone.", Role::Average),
            ("backbone_momentum.", Role::Average),
            ("target_network.encoder.", Role::Average),
            ("online_network.encoder.", Role::Trained),
            ("teacher.backbone.", Role::Teacher),
            ("student_backbone.", Role::Student),
            ("keys.kernel.schema.", Role::Trained),
        ] {
            assert_eq!(role(location), expected, "{location}");
        }
    }
}
