//! The bilevel problem of self-supervised pretraining and a downstream classification task.

use std::sync::Arc;

use bissl_core::{Bank, Evaluation, Group, LowerObjective, Register, RegisterFile, UpperObjective};
use burn_tensor::Tensor;

use super::{Downstream, DriverError, Networks, Registers, Statistics, Target, upload_inputs};
use crate::data::{DataError, Labelled, Targets, TwoViews};
use crate::kernels::Kernels;
use crate::network::loss::Loss;
use crate::network::pretext::Method;
use crate::network::{
    Curvature, Gradients, Linearization, LinearizationSettings, Recompute, StatisticsUpdates,
    Tower, TowerParameters,
};

/// Makes batch number `step` of one kind.
pub type Source<T> = Box<dyn Fn(u32) -> Result<T, DataError>>;

/// Where batches come from. A stage fills in those that it needs.
#[derive(Default)]
pub struct Sources {
    /// Two views for lower steps.
    pub lower: Option<Source<TwoViews>>,
    /// Two views for products.
    pub product: Option<Source<TwoViews>>,
    /// Labelled images for upper steps.
    pub upper: Option<Source<Labelled>>,
}

/// What a problem computes, besides its networks and batches. There is no default: whoever builds a
/// problem sets every field.
#[derive(Clone, Debug)]
pub struct ProblemSettings<B: Kernels> {
    /// The pretext method, which defines L^P.
    pub pretext: Arc<dyn Method<B>>,
    /// The downstream task, which defines L^D.
    pub downstream: Arc<dyn Downstream<B>>,
    /// The operator of the products.
    pub curvature: Curvature,
    /// What products recompute instead of storing.
    pub recompute: Recompute,
    /// What updates the running statistics.
    pub statistics: StatisticsUpdates,
    /// Vectors of the solver that outlive an alternation. Checkpoints have to store them.
    pub lasting: Vec<Register>,
    /// Seed of the sketches, and of the split that the labels come from.
    pub seed: u64,
}

/// Registers, networks and batches: what the core's training machines act on.
pub struct Problem<'n, B: Kernels> {
    /// The vectors.
    pub registers: Registers<B>,
    /// Running statistics.
    pub statistics: Statistics<B>,
    settings: ProblemSettings<B>,
    networks: &'n Networks,
    sources: Sources,
    target: Option<Target<B>>,
    linearization: Option<Linearization<'n, B>>,
    upper_batch: Option<(u32, Tensor<B, 4>, Targets)>,
}

impl<'n, B: Kernels> Problem<'n, B> {
    /// A problem with unwritten registers and initial statistics. `networks` must match the
    /// settings' pretext method and downstream task.
    ///
    /// # Panics
    /// If the downstream head has batch norm.
    pub fn new(
        networks: &'n Networks,
        device: B::Device,
        sources: Sources,
        settings: ProblemSettings<B>,
    ) -> Self {
        let of_head = networks.classifier.statistics().len();
        assert_eq!(of_head, 0, "a problem keeps no running statistics of φ_D");
        let statistics = Statistics::initial(networks, &device);
        let registers = Registers::new(
            device,
            networks.backbone.parameters(),
            networks.pretext_head.parameters(),
            networks.classifier.parameters(),
            settings.seed,
        );
        Self {
            registers,
            statistics,
            settings,
            networks,
            sources,
            target: None,
            linearization: None,
            upper_batch: None,
        }
    }

    /// The networks.
    pub fn networks(&self) -> &'n Networks {
        self.networks
    }

    /// What the problem computes.
    pub fn settings(&self) -> &ProblemSettings<B> {
        &self.settings
    }

    /// Replaces the batches; networks and parameters stay.
    pub fn replace_sources(&mut self, sources: Sources) {
        self.sources = sources;
        self.upper_batch = None;
    }

    /// Whether a batch is linearised, so that products can be computed.
    pub(crate) fn is_linearized(&self) -> bool {
        self.linearization.is_some()
    }

    /// Drops the linearisation and frees its memory.
    pub(crate) fn release(&mut self) {
        self.linearization = None;
    }

    /// Linearises and also computes the gradient, which products do not need. Differentiating the
    /// gradient once more starts with this.
    ///
    /// # Errors
    /// Those of [`LowerObjective::linearize`].
    pub(crate) fn linearize_with_gradient(&mut self, index: u32) -> Result<(), DriverError> {
        self.linearize_for(index, true)
    }

    fn linearize_for(&mut self, index: u32, with_gradient: bool) -> Result<(), DriverError> {
        let source = self.sources.product.as_ref().ok_or(DriverError::NoBatches("product"))?;
        let views = self.views(source(index)?);
        let parameters = self.parameters(Group::LowerBackbone, Group::PretextHead)?;
        let tower = self.networks.pretext_tower();
        // The target's outputs enter the loss here; no product computes them again.
        let loss = self.fixed_loss(&parameters, &views);
        let ProblemSettings { curvature, recompute, .. } = self.settings;
        let settings = LinearizationSettings { curvature, recompute, with_gradient };
        self.linearization = Some(Linearization::new(tower, parameters, views, loss, settings));
        Ok(())
    }

    /// H `direction` on the linearised batch, without the registers.
    ///
    /// # Errors
    /// No batch is linearised.
    pub fn curvature_product(&self, direction: &Tensor<B, 1>) -> Result<Tensor<B, 1>, DriverError> {
        let linearization = self.linearization.as_ref().ok_or(DriverError::NotLinearized)?;
        Ok(linearization.product(direction))
    }

    /// Registers of the same lengths as the problem's, all unwritten.
    pub(crate) fn empty_registers(&self) -> Registers<B> {
        Registers::new(
            self.registers.device().clone(),
            self.networks.backbone.parameters(),
            self.networks.pretext_head.parameters(),
            self.networks.classifier.parameters(),
            self.settings.seed,
        )
    }

    /// The target network after the last lower step; `None` before it is first needed, and for a
    /// pretext method without one.
    ///
    /// # Errors
    /// None in practice: every problem has the registers of θ_P and φ_P.
    pub fn target(&mut self) -> Result<Option<&Target<B>>, DriverError> {
        if self.target.is_some() {
            let online = self.parameters(Group::LowerBackbone, Group::PretextHead)?;
            self.target_at(&online);
        }
        Ok(self.target.as_ref())
    }

    /// Continues from a stored target network. Without one, the first lower step or linearisation
    /// copies the online network.
    pub(crate) fn set_target(&mut self, target: Target<B>) {
        self.target = Some(target);
    }

    /// Freezes the target network, or lets it follow again. A law about two lower gradients needs
    /// the same target in both.
    pub fn hold_target(&mut self, hold: bool) {
        if let Some(target) = &mut self.target {
            target.frozen = hold;
        }
    }

    /// Gradient of L^P on product batch `index`, the batch that [`LowerObjective::linearize`]
    /// linearises; returns the loss. It changes neither running statistics nor the target network.
    /// The arguments are those of [`LowerObjective::lower_gradient`].
    ///
    /// # Errors
    /// Those of [`LowerObjective::lower_gradient`].
    pub fn product_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, DriverError> {
        let source = self.sources.product.as_ref().ok_or(DriverError::NoBatches("product"))?;
        let views = self.views(source(index)?);
        let parameters = self.parameters(Group::LowerBackbone, Group::PretextHead)?;
        let loss = self.fixed_loss(&parameters, &views);
        let tower = self.networks.pretext_tower();
        let gradients = tower.gradients(&parameters, views, loss.as_ref(), backbone.is_some());
        self.store(gradients, backbone, head)
    }

    /// L^P with the current target network's outputs as constants.
    fn fixed_loss(
        &mut self,
        parameters: &TowerParameters<B>,
        views: &[Tensor<B, 4>],
    ) -> Box<dyn Loss<B>> {
        let target = self.target_at(parameters);
        let target = target.map(|(tower, target)| (tower, target.parameters.clone()));
        let beside = target.as_ref().map(|(tower, parameters)| (*tower, parameters));
        self.settings.pretext.loss_beside(beside, views)
    }

    /// The target network for an online network that has completed its last step: first a copy,
    /// later the moving average. It follows when it is next used, because the driver cannot tell
    /// the step's update from other vector operations.
    fn target_at(&mut self, online: &TowerParameters<B>) -> Option<(Tower<'n>, &mut Target<B>)> {
        let tower = self.networks.target_tower()?;
        let decay = self.settings.pretext.target_decay()?;
        let copied = || Target::copied(tower, online, &self.statistics);
        let target = self.target.get_or_insert_with(copied);
        target.follow(tower, online, decay);
        Some((tower, target))
    }

    /// The loss of a lower step, which updates the target network's running statistics.
    fn step_loss(
        &mut self,
        online: &TowerParameters<B>,
        views: &[Tensor<B, 4>],
    ) -> Box<dyn Loss<B>> {
        let targets = self.target_at(online).map(|(tower, target)| target.step(tower, views));
        self.settings.pretext.loss(targets.unwrap_or_default())
    }

    fn downstream_tower(&self) -> Tower<'n> {
        Tower { backbone: &self.networks.backbone, head: &self.networks.classifier }
    }

    fn parameters(
        &mut self,
        backbone: Group,
        head: Group,
    ) -> Result<TowerParameters<B>, DriverError> {
        Ok(TowerParameters {
            backbone: self.registers.get(Register::Parameter(backbone))?,
            head: self.registers.get(Register::Parameter(head))?,
        })
    }

    fn views(&self, TwoViews { views, batch, shape }: TwoViews) -> Vec<Tensor<B, 4>> {
        upload_inputs(views, batch, shape, self.registers.device()).to_vec()
    }

    /// Batch `index` of the upper level. A hypergradient needs it twice; it is made once.
    fn upper_batch(&mut self, index: u32) -> Result<(Tensor<B, 4>, Targets), DriverError> {
        if let Some((kept, images, labels)) = &self.upper_batch
            && *kept == index
        {
            return Ok((images.clone(), labels.clone()));
        }
        let source = self.sources.upper.as_ref().ok_or(DriverError::NoBatches("downstream"))?;
        let Labelled { images, labels, batch, shape } = source(index)?;
        let [images] = upload_inputs(images, batch, shape, self.registers.device());
        self.upper_batch = Some((index, images.clone(), labels.clone()));
        Ok((images, labels))
    }

    fn store(
        &mut self,
        gradients: Gradients<B>,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, DriverError> {
        self.registers.set(head, gradients.head)?;
        if let (Some(register), Some(gradient)) = (backbone, gradients.backbone) {
            self.registers.set(register, gradient)?;
        }
        Ok(gradients.loss as f32)
    }
}

impl<B: Kernels> RegisterFile for Problem<'_, B> {
    type Error = DriverError;

    fn zero(&mut self, dst: Register) -> Result<(), DriverError> {
        self.registers.zero(dst)
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), DriverError> {
        self.registers.copy(src, dst)
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), DriverError> {
        self.registers.axpby(a, x, b, y)
    }

    fn dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<(), DriverError> {
        self.registers.dots(pairs, scalars)
    }

    fn basis_dots(
        &mut self,
        pairs: &[(Register, Register)],
        bank: Bank,
        x: Register,
        scalars: &mut [f32],
    ) -> Result<(), DriverError> {
        self.registers.basis_dots(pairs, bank, x, scalars)
    }

    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, DriverError> {
        self.registers.segment_dots(pairs, scalars)
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), DriverError> {
        self.registers.segment_axpby(scalars, x, b, y)
    }

    fn adam(
        &mut self,
        group: Group,
        gradient: Register,
        coefficients: &bissl_core::AdamCoefficients,
    ) -> Result<(), DriverError> {
        self.registers.adam(group, gradient, coefficients)
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), DriverError> {
        self.registers.sketch(dst, index)
    }
}

impl<B: Kernels> LowerObjective for Problem<'_, B> {
    fn lower_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, DriverError> {
        // θ_P is about to move, so no more products at the old θ_P follow: free their memory.
        self.linearization = None;
        let source = self.sources.lower.as_ref().ok_or(DriverError::NoBatches("pretext"))?;
        let views = self.views(source(index)?);
        let parameters = self.parameters(Group::LowerBackbone, Group::PretextHead)?;
        let tower = self.networks.pretext_tower();
        let loss = self.step_loss(&parameters, &views);
        let gradients = tower.gradients(&parameters, views, loss.as_ref(), backbone.is_some());
        let running = gradients.updated_statistics(tower, self.statistics.lower());
        self.statistics.set_lower(running);
        self.store(gradients, backbone, head)
    }

    fn linearize(&mut self, index: u32) -> Result<(), DriverError> {
        self.linearize_for(index, false)
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), DriverError> {
        let direction = self.registers.get(src)?;
        let product = self.curvature_product(&direction)?;
        if let (StatisticsUpdates::EveryPass, Some(linearization)) =
            (self.settings.statistics, &self.linearization)
        {
            let running = linearization.updated_statistics(self.statistics.lower());
            self.statistics.set_lower(running);
        }
        self.registers.set(dst, product)
    }
}

impl<B: Kernels> UpperObjective for Problem<'_, B> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, DriverError> {
        let (images, labels) = self.upper_batch(index)?;
        let group = match at {
            Evaluation::UpperAtLower => Group::LowerBackbone,
            Evaluation::Lower | Evaluation::UpperAtUpper => Group::UpperBackbone,
        };
        let parameters = self.parameters(group, Group::DownstreamHead)?;
        let tower = self.downstream_tower();
        let loss = self.settings.downstream.loss(&labels);
        let views = vec![images];
        let gradients = tower.gradients(&parameters, views, loss.as_ref(), backbone.is_some());
        // g_P runs θ_P in training mode, too, but θ_P's statistics should be those of the pretext
        // data.
        let running = match (group, self.settings.statistics) {
            (Group::UpperBackbone, _) => Some(&mut self.statistics.upper_backbone),
            (_, StatisticsUpdates::EveryPass) => Some(&mut self.statistics.lower_backbone),
            (_, StatisticsUpdates::LowerSteps) => None,
        };
        if let Some(running) = running {
            let nothing = Tensor::zeros([1], self.registers.device());
            *running = gradients.updated_statistics(tower, (running.clone(), nothing)).0;
        }
        self.store(gradients, backbone, head)
    }
}
