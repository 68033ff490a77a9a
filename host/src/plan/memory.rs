//! Memory of the bilevel stage, computed and measured.

use bissl_core::Optimizer;
use serde::Serialize;

use super::cost::Cost;
use crate::config::RunConfig;
use crate::driver::Networks;
use crate::stage::memory::solver_memory;

/// Computed and measured memory of the bilevel stage, bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryReport {
    /// Memory of θ_P, φ_P, θ_D and φ_D.
    pub parameters: u64,
    /// The target network's average of θ_P and the projector, with running statistics; 0 without a
    /// target network.
    pub target: u64,
    /// Momenta, and the second moments of AdamW.
    pub momenta: u64,
    /// Work vectors of the machines: four of the backbone's length, three of the heads' length.
    pub work: u64,
    /// Maximum memory of the solver.
    pub solver: u64,
    /// Activations of a lower step, measured; `None` if the allocator does not count, or the
    /// tensors are not in this process's memory.
    pub activations: Option<u64>,
    /// The linearisation, measured; 0 without products.
    pub linearization: Option<u64>,
    /// Measured peak of everything, including the prefetched images.
    pub peak: Option<u64>,
    /// Available memory of the machine or device before the measurement.
    pub available: Option<u64>,
    /// Total memory of the device.
    pub total: Option<u64>,
    /// The largest `align.batch` that fits into the available memory, by proportion; `None` if the
    /// peak or the memory is unknown.
    pub largest_batch: Option<u64>,
}

/// Largest number of images per step for which `available` bytes suffice, if all batches grow in
/// proportion.
///
/// With `batch` images the peak is `peak` bytes, of which `constant` do not depend on the batch;
/// later the solver may keep `solver` more. Other constant memory, such as images in memory, is
/// assumed to grow with the batch, so the result is rather too small.
fn largest_batch(batch: u64, peak: u64, constant: u64, solver: u64, available: u64) -> u64 {
    let growing = peak.saturating_sub(constant).max(1);
    let room = available.saturating_sub(constant + solver);
    (u128::from(batch) * u128::from(room) / u128::from(growing)) as u64
}

impl MemoryReport {
    /// Adds the measured parts.
    #[must_use]
    pub(super) fn measured(self, batch: usize, cost: &Cost) -> Self {
        let constant = self.parameters + self.target + self.momenta + self.work;
        let largest =
            |available| largest_batch(batch as u64, cost.peak, constant, self.solver, available);
        Self {
            activations: Some(cost.activations),
            linearization: Some(cost.linearization),
            peak: Some(cost.peak),
            largest_batch: self.available.map(largest),
            ..self
        }
    }

    /// The computed parts; the measured ones are unknown.
    ///
    /// # Errors
    /// A solver's setting is out of its range.
    pub(super) fn computed(
        config: &RunConfig,
        networks: &Networks,
        available: Option<u64>,
    ) -> Result<Self, bissl_core::ConfigError> {
        let len = |network: &crate::network::Network| network.parameters().len() as u64;
        let backbone = len(&networks.backbone);
        let (pretext_head, classifier) = (len(&networks.pretext_head), len(&networks.classifier));
        let target = networks.target_tower().map_or(0, |tower| {
            let both = [tower.backbone, tower.head];
            both.map(|part| len(part) + part.statistics().len() as u64).iter().sum()
        });
        let moments = |optimizer| match optimizer {
            Optimizer::Adamw { .. } => 2,
            Optimizer::Sgd { .. } | Optimizer::Lars { .. } => 1,
        };
        let (lower, upper) = (backbone + pretext_head, backbone + classifier);
        let bytes = config.backend.element_bytes();
        let align = &config.align;
        let momenta =
            moments(align.lower.optimizer) * lower + moments(align.upper.optimizer) * upper;
        Ok(Self {
            parameters: bytes * (lower + upper),
            target: bytes * target,
            momenta: bytes * momenta,
            work: bytes * (4 * backbone + pretext_head + 2 * classifier),
            solver: solver_memory(config, backbone as usize)?,
            activations: None,
            linearization: None,
            peak: None,
            available,
            total: None,
            largest_batch: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn a_target_network_is_counted_where_the_method_has_one() {
        let of = |method: &str| {
            let layers = crate::config::Layers::preset(Preset::Demo);
            let config = layers.flag("--method", "pretext.method", method).resolve().unwrap();
            let networks = crate::model::networks(&config, 10);
            let memory = MemoryReport::computed(&config, &networks, None).unwrap();
            (memory.target, memory.parameters, networks)
        };
        let (target, parameters, networks) = of("byol");
        let lengths = |network: &crate::network::Network| {
            (network.parameters().len() + network.statistics().len()) as u64
        };
        let projector = crate::network::mlp_head(64, &[128, 128]);
        assert_eq!(target, 4 * (lengths(&networks.backbone) + lengths(&projector)));
        for method in ["simclr", "vicreg", "barlow-twins"] {
            let (target, of_method, _) = of(method);
            assert_eq!(target, 0, "{method}");
            assert!(of_method < parameters, "the predictor is one of φ_P's parts");
        }
    }

    #[test]
    fn the_largest_batch_leaves_room_for_what_does_not_grow() {
        // 40 of 200 bytes do not grow and 10 images take 160; later the solver keeps 20 more.
        assert_eq!(largest_batch(10, 200, 40, 20, 60 + 320), 20);
        assert_eq!(largest_batch(10, 200, 40, 20, 60 + 319), 19);
        assert_eq!(largest_batch(10, 200, 40, 20, 59), 0);
        assert_eq!(largest_batch(1024, 1 << 40, 0, 0, 1 << 40), 1024);
    }
}
