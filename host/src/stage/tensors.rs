//! A problem's vectors as named tensors, and back.

use crate::error::{Result, fail};
use bissl_core::{Bank, Group, Register};

use crate::driver::{Networks, Problem, Target, download, upload};
use crate::hash::hash;
use crate::kernels::Kernels;
use crate::network::{Network, ParameterTable, TowerParameters};
use crate::run::NamedTensor;

/// A network's parameters and running statistics, flat.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Parameters.
    pub parameters: Vec<f32>,
    /// Running statistics; empty for a network without batch norm.
    pub statistics: Vec<f32>,
}

const GROUPS: [(Group, &str); 4] = [
    (Group::LowerBackbone, "lower_backbone"),
    (Group::PretextHead, "pretext_head"),
    (Group::UpperBackbone, "upper_backbone"),
    (Group::DownstreamHead, "downstream_head"),
];

/// What stands before the names of the best weights so far.
pub(crate) const BEST_BACKBONE: &str = "best_upper_backbone";
pub(crate) const BEST_HEAD: &str = "best_downstream_head";
const TARGET_BACKBONE: &str = "target_backbone";
const TARGET_HEAD: &str = "target_projector";
/// What stands before the names of a group's tensors.
pub(crate) fn group_name(group: Group) -> &'static str {
    GROUPS.iter().find(|(g, _)| *g == group).expect("all groups listed").1
}

/// Classes of the classifier among a checkpoint's tensors, 1 where there is none.
pub(crate) fn classes(tensors: &[NamedTensor]) -> usize {
    let prefix = group_name(Group::DownstreamHead);
    let is_bias = |tensor: &&NamedTensor| {
        tensor.name.strip_prefix(prefix).is_some_and(|rest| rest == ".fc.bias")
    };
    tensors.iter().find(is_bias).map_or(1, |tensor| tensor.values.len())
}

/// The network of a group.
fn network(networks: &Networks, group: Group) -> &Network {
    match group {
        Group::LowerBackbone | Group::UpperBackbone => &networks.backbone,
        Group::PretextHead => &networks.pretext_head,
        Group::DownstreamHead => &networks.classifier,
    }
}

/// Fills a group of a problem.
pub(crate) fn install<B: Kernels>(
    problem: &mut Problem<'_, B>,
    group: Group,
    weights: &Weights,
) -> Result<()> {
    problem.registers.write(Register::Parameter(group), weights.parameters.clone())?;
    let device = problem.registers.device().clone();
    let statistics = || upload(weights.statistics.clone(), [weights.statistics.len()], &device);
    match group {
        Group::LowerBackbone => problem.statistics.lower_backbone = statistics(),
        Group::UpperBackbone => problem.statistics.upper_backbone = statistics(),
        Group::PretextHead => problem.statistics.pretext_head = statistics(),
        Group::DownstreamHead => {}
    }
    Ok(())
}

/// Reads a group of a problem.
pub(crate) fn extract<B: Kernels>(problem: &mut Problem<'_, B>, group: Group) -> Result<Weights> {
    let statistics = match group {
        Group::LowerBackbone => download(&problem.statistics.lower_backbone),
        Group::UpperBackbone => download(&problem.statistics.upper_backbone),
        Group::PretextHead => download(&problem.statistics.pretext_head),
        Group::DownstreamHead => Vec::new(),
    };
    Ok(Weights { parameters: problem.registers.read(Register::Parameter(group))?, statistics })
}

/// Everything that has to survive, one tensor for each parameter tensor and each momentum.
pub(crate) fn all<B: Kernels>(problem: &mut Problem<'_, B>) -> Result<Vec<NamedTensor>> {
    let mut tensors = Vec::new();
    let networks = problem.networks();
    for (group, prefix) in GROUPS {
        if problem.registers.is_set(Register::Parameter(group)) {
            let weights = extract(problem, group)?;
            tensors.extend(named(prefix, network(networks, group), &weights));
        }
        let moments = [
            ("momentum", Register::Momentum(group)),
            ("second_moment", Register::SecondMoment(group)),
        ];
        for (kind, register) in moments {
            if problem.registers.is_set(register) {
                let values = problem.registers.read(register)?;
                let name = format!("{kind}.{prefix}");
                tensors.push(NamedTensor { name, shape: vec![values.len()], values });
            }
        }
    }
    if let (Some(tower), Some(target)) = (networks.target_tower(), problem.target()?) {
        let of = |parameters, statistics| Weights {
            parameters: download(parameters),
            statistics: download(statistics),
        };
        let backbone = of(&target.parameters.backbone, &target.statistics.0);
        tensors.extend(named(TARGET_BACKBONE, tower.backbone, &backbone));
        let head = of(&target.parameters.head, &target.statistics.1);
        tensors.extend(named(TARGET_HEAD, tower.head, &head));
    }
    for register in problem.settings().lasting.clone() {
        if problem.registers.is_set(register) {
            let values = problem.registers.read(register)?;
            tensors.push(NamedTensor {
                name: lasting_name(register),
                shape: vec![values.len()],
                values,
            });
        }
    }
    Ok(tensors)
}

/// A hash of every bit of [`all`], which is all that training consists of, in hexadecimal.
pub(super) fn fingerprint<B: Kernels>(problem: &mut Problem<'_, B>) -> Result<String> {
    let mut bytes = Vec::new();
    for NamedTensor { name, values, .. } in all(problem)? {
        bytes.extend(hash(name.as_bytes()).to_le_bytes());
        let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes.extend(hash(&values).to_le_bytes());
    }
    Ok(format!("{:016x}", hash(&bytes)))
}

/// Name of a solver's vector in a checkpoint.
fn lasting_name(register: Register) -> String {
    match register {
        Register::Banked(Bank::Basis, index) => format!("solver.basis.{index}"),
        Register::Banked(Bank::BasisProduct, index) => format!("solver.basis_product.{index}"),
        other => format!("solver.{other:?}"),
    }
}

/// The inverse of [`all`].
pub(crate) fn restore<B: Kernels>(
    problem: &mut Problem<'_, B>,
    tensors: &[NamedTensor],
) -> Result<()> {
    let networks = problem.networks();
    for (group, prefix) in GROUPS {
        if let Some(weights) = weights(prefix, network(networks, group), tensors)? {
            install(problem, group, &weights)?;
        }
        let moments = [
            ("momentum", Register::Momentum(group)),
            ("second_moment", Register::SecondMoment(group)),
        ];
        for (kind, register) in moments {
            let name = format!("{kind}.{prefix}");
            if let Some(tensor) = tensors.iter().find(|tensor| tensor.name == name) {
                problem.registers.write(register, tensor.values.clone())?;
            }
        }
    }
    if let Some((backbone, head)) = target_weights(networks, tensors)? {
        let device = problem.registers.device().clone();
        let flat = |values: Vec<f32>| {
            let len = values.len();
            upload::<B, 1>(values, [len], &device)
        };
        let parameters =
            TowerParameters { backbone: flat(backbone.parameters), head: flat(head.parameters) };
        let statistics = (flat(backbone.statistics), flat(head.statistics));
        problem.set_target(Target::new(parameters, statistics));
    }
    for register in problem.settings().lasting.clone() {
        let name = lasting_name(register);
        if let Some(tensor) = tensors.iter().find(|tensor| tensor.name == name) {
            problem.registers.write(register, tensor.values.clone())?;
        }
    }
    Ok(())
}

/// A network's weights as tensors with a prefix.
pub(crate) fn named(prefix: &str, network: &Network, weights: &Weights) -> Vec<NamedTensor> {
    let mut tensors = Vec::new();
    let parts: [(&ParameterTable, &[f32]); 2] =
        [(network.parameters(), &weights.parameters), (network.statistics(), &weights.statistics)];
    for (table, values) in parts {
        for segment in table.segments() {
            tensors.push(NamedTensor {
                name: format!("{prefix}.{}", segment.name),
                shape: segment.shape.clone(),
                values: values[segment.offset..segment.offset + segment.len()].to_vec(),
            });
        }
    }
    tensors
}

/// The inverse of [`named`]; `None` where no tensor has the prefix.
pub(crate) fn weights(
    prefix: &str,
    network: &Network,
    tensors: &[NamedTensor],
) -> Result<Option<Weights>> {
    let marked = format!("{prefix}.");
    if !tensors.iter().any(|tensor| tensor.name.starts_with(&marked)) {
        return Ok(None);
    }
    let flat = |table: &ParameterTable| -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(table.len());
        for segment in table.segments() {
            let name = format!("{prefix}.{}", segment.name);
            let Some(tensor) = tensors.iter().find(|tensor| tensor.name == name) else {
                fail!("tensor {name} is missing");
            };
            if tensor.shape != segment.shape {
                let (found, expected) = (&tensor.shape, &segment.shape);
                fail!("tensor {name} has shape {found:?}, expected {expected:?}");
            }
            values.extend_from_slice(&tensor.values);
        }
        Ok(values)
    };
    let (parameters, statistics) = (flat(network.parameters())?, flat(network.statistics())?);
    Ok(Some(Weights { parameters, statistics }))
}

/// Backbone and projector of the target network among tensors; `None` where there is none.
pub(crate) fn target_weights(
    networks: &Networks,
    tensors: &[NamedTensor],
) -> Result<Option<(Weights, Weights)>> {
    let Some(tower) = networks.target_tower() else { return Ok(None) };
    let backbone = weights(TARGET_BACKBONE, tower.backbone, tensors)?;
    Ok(backbone.zip(weights(TARGET_HEAD, tower.head, tensors)?))
}

/// A group's weights among tensors.
pub(crate) fn group_weights(
    group: Group,
    networks: &Networks,
    tensors: &[NamedTensor],
) -> Result<Option<Weights>> {
    weights(group_name(group), network(networks, group), tensors)
}
