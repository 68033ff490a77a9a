//! The names of a ResNet's tensors, taken apart.

/// The first place in an `nn.Sequential` that a stage can have: convolution and norm come before.
const STAGE_PLACE_MIN: u32 = 2;

/// Where a tensor belongs in a ResNet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part<'n> {
    /// `PREFIXlayerS.B.REST`.
    Block { prefix: &'n str, stage: u32, rest: &'n str },
    /// `PREFIXN.B.REST`: a stage by its place in an `nn.Sequential`.
    Numbered { prefix: &'n str, place: u32, rest: &'n str },
    /// `PREFIXconv1.weight` or a tensor of `PREFIXbn1`.
    Stem { prefix: &'n str, rest: &'n str },
}

impl<'n> Part<'n> {
    /// Takes a name apart; `None` if it is of no ResNet. The `rest` of a block begins with the
    /// block's number.
    pub(super) fn of(name: &'n str) -> Option<Self> {
        // Places of the parts between dots.
        let starts: Vec<usize> =
            [0].into_iter().chain(name.match_indices('.').map(|(at, _)| at + 1)).collect();
        let part = |index: usize| {
            let end = starts.get(index + 1).map_or(name.len(), |next| next - 1);
            starts.get(index).map(|start| &name[*start..end])
        };
        for index in 0..starts.len() {
            let stage = part(index).and_then(|part| number(part.strip_prefix("layer")?));
            if let (Some(stage), true) = (stage, part(index + 1).and_then(number).is_some()) {
                let (prefix, rest) = (&name[..starts[index]], &name[starts[index + 1]..]);
                return Some(Self::Block { prefix, stage, rest });
            }
        }
        // A prefix may end with numbers of its own: the last two before a layer are meant.
        for index in (0..starts.len().saturating_sub(2)).rev() {
            let place = part(index).and_then(number).filter(|place| *place >= STAGE_PLACE_MIN);
            let is_block = part(index + 1).and_then(number).is_some();
            if let (Some(place), true, true) =
                (place, is_block, part(index + 2).is_some_and(is_in_block))
            {
                let (prefix, rest) = (&name[..starts[index]], &name[starts[index + 1]..]);
                return Some(Self::Numbered { prefix, place, rest });
            }
        }
        let index = starts.len().checked_sub(2)?;
        let is_stem = match part(index)? {
            "conv1" => part(index + 1) == Some("weight"),
            "bn1" => true,
            _ => false,
        };
        let (prefix, rest) = name.split_at(starts[index]);
        is_stem.then_some(Self::Stem { prefix, rest })
    }
}

/// A number of at most 3 digits.
pub(super) fn number(text: &str) -> Option<u32> {
    (text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Whether a layer with this name occurs in a block.
fn is_in_block(part: &str) -> bool {
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    ["conv", "bn", "downsample", "shortcut"].contains(&word)
}

/// torchvision's name of a tensor of a block; `rest` as in [`Part`]. Many ResNets for CIFAR call
/// the shortcut's layers so.
pub(super) fn block_name(stage: u32, rest: &str) -> String {
    let rest = rest.replace(".shortcut.", ".downsample.");
    format!("layer{stage}.{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_behind_any_prefix() {
        for prefix in ["", "module.", "module.encoder_q.0.", "0.", "0.1.", "a.conv1.", "layers."] {
            let name = format!("{prefix}layer1.0.conv1.weight");
            let expected = Part::Block { prefix, stage: 1, rest: "0.conv1.weight" };
            assert_eq!(Part::of(&name), Some(expected));
            let name = format!("{prefix}4.1.downsample.0.weight");
            let expected = Part::Numbered { prefix, place: 4, rest: "1.downsample.0.weight" };
            assert_eq!(Part::of(&name), Some(expected));
            for rest in ["conv1.weight", "bn1.running_var"] {
                let name = format!("{prefix}{rest}");
                assert_eq!(Part::of(&name), Some(Part::Stem { prefix, rest }));
            }
        }
        for name in ["", ".", "conv1", "fc.weight", "conv1.bias", "blocks.0.attn.weight", "0.1"] {
            assert_eq!(Part::of(name), None, "{name}");
        }
    }
}
