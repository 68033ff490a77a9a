//! The bilevel problem of self-supervised pretraining and a downstream classification task.

use bissl_core::{Bank, Evaluation, Group, LowerObjective, Register, RegisterFile, UpperObjective};
use burn_tensor::Tensor;
use thiserror::Error;

use super::{Registers, downstream_loss, upload};
use crate::data::{DataError, Labelled, Targets, TwoViews};
use crate::kernels::Kernels;
use crate::network::loss::NtXent;
use crate::network::multi_label::MultiLabel;
use crate::network::{
    Curvature, Gradients, Linearization, LinearizationSettings, Network, Recompute, Tower,
    TowerParameters,
};

/// What can fail while a request is performed.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The request names a vector that this problem does not have.
    #[error("this problem has no register {0:?}")]
    NoRegister(Register),
    /// A batch could not be made.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The stage was given no batches of this kind.
    #[error("this stage has no {0} batches")]
    NoBatches(&'static str),
    /// A product was asked for before the batch was linearised.
    #[error("a product was asked for before a linearisation")]
    NotLinearized,
}

/// The networks of a problem.
#[derive(Clone, Debug)]
pub struct Networks {
    /// The backbone of both levels.
    pub backbone: Network,
    /// SimCLR's projector.
    pub projector: Network,
    /// The downstream classifier.
    pub classifier: Network,
}

impl Networks {
    /// Classes of the downstream task.
    pub fn classes(&self) -> usize {
        // The classifier is one linear layer: its weight's rows.
        self.classifier.parameters().segments()[0].shape[0]
    }
}

/// Makes batch number `step` of one kind.
pub type Source<T> = Box<dyn Fn(u32) -> Result<T, DataError>>;

/// Where batches come from; a stage fills in what it needs.
#[derive(Default)]
pub struct Sources {
    /// Two views for lower steps.
    pub lower: Option<Source<TwoViews>>,
    /// Two views for products.
    pub product: Option<Source<TwoViews>>,
    /// Labelled images for upper steps.
    pub upper: Option<Source<Labelled>>,
}

/// Running statistics of the batch norms, flat.
#[derive(Clone, Debug)]
pub struct Statistics<B: Kernels> {
    /// Of θ_P.
    pub lower_backbone: Tensor<B, 1>,
    /// Of θ_D.
    pub upper_backbone: Tensor<B, 1>,
    /// Of the projector.
    pub projector: Tensor<B, 1>,
}

impl<B: Kernels> Statistics<B> {
    /// Means of 0 and variances of 1.
    pub fn initial(networks: &Networks, device: &B::Device) -> Self {
        let initial = |network: &Network| {
            // The stream is not drawn from: statistics start at constants.
            let values = network.statistics().initial(bissl_core::Stream::new(0, 0));
            let len = values.len();
            upload(values, [len], device)
        };
        Self {
            lower_backbone: initial(&networks.backbone),
            upper_backbone: initial(&networks.backbone),
            projector: initial(&networks.projector),
        }
    }
}

/// Registers, networks and batches: what the core's training machines are driven with.
pub struct Problem<'n, B: Kernels> {
    /// The vectors.
    pub registers: Registers<B>,
    /// Running statistics.
    pub statistics: Statistics<B>,
    /// Vectors of the solver that outlive an alternation: a checkpoint has to hold them.
    pub lasting: Vec<Register>,
    /// What products compute anew instead of keeping it.
    pub recompute: Recompute,
    /// The downstream loss where images have sets of labels.
    pub multi_label: MultiLabel,
    networks: &'n Networks,
    sources: Sources,
    temperature: f64,
    curvature: Curvature,
    seed: u64,
    linearization: Option<Linearization<'n, B>>,
    upper_batch: Option<(u32, Tensor<B, 4>, Targets)>,
}

impl<'n, B: Kernels> Problem<'n, B> {
    /// A problem with unwritten registers and initial statistics.
    pub fn new(
        networks: &'n Networks,
        device: B::Device,
        sources: Sources,
        temperature: f64,
        curvature: Curvature,
        seed: u64,
    ) -> Self {
        let statistics = Statistics::initial(networks, &device);
        let registers = Registers::new(
            device,
            networks.backbone.parameters(),
            networks.projector.parameters(),
            networks.classifier.parameters(),
            seed,
        );
        Self {
            registers,
            statistics,
            lasting: Vec::new(),
            recompute: Recompute::default(),
            multi_label: MultiLabel::default(),
            networks,
            sources,
            temperature,
            curvature,
            seed,
            linearization: None,
            upper_batch: None,
        }
    }

    /// The networks.
    pub fn networks(&self) -> &'n Networks {
        self.networks
    }

    /// The seed of its random streams, and of the split that its labels come from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The same networks and parameters with other batches.
    pub fn replace_sources(&mut self, sources: Sources) {
        self.sources = sources;
        self.upper_batch = None;
    }

    /// Whether products can be asked for.
    pub fn is_linearized(&self) -> bool {
        self.linearization.is_some()
    }

    /// Forgets the linearisation, and its memory with it.
    pub fn release(&mut self) {
        self.linearization = None;
    }

    /// Linearises with the gradient itself, which products do not need: what differentiating the gradient
    /// once more begins with.
    ///
    /// # Errors
    /// As [`LowerObjective::linearize`].
    pub fn linearize_with_gradient(&mut self, index: u32) -> Result<(), DriverError> {
        self.linearize_for(index, true)
    }

    fn linearize_for(&mut self, index: u32, with_gradient: bool) -> Result<(), DriverError> {
        let source = self.sources.product.as_ref().ok_or(DriverError::NoBatches("product"))?;
        let views = self.views(source(index)?);
        let parameters = self.parameters(Group::LowerBackbone, Group::PretextHead)?;
        let (tower, loss) = (self.pretext_tower(), Box::new(self.loss()));
        let (curvature, recompute) = (self.curvature, self.recompute);
        let settings = LinearizationSettings { curvature, recompute, with_gradient };
        self.linearization = Some(Linearization::new(tower, parameters, views, loss, settings));
        Ok(())
    }

    /// H `direction` on the linearised batch, outside the registers.
    ///
    /// # Errors
    /// Nothing is linearised.
    pub fn curvature_product(&self, direction: &Tensor<B, 1>) -> Result<Tensor<B, 1>, DriverError> {
        let linearization = self.linearization.as_ref().ok_or(DriverError::NotLinearized)?;
        Ok(linearization.product(direction))
    }

    /// Registers of the same lengths, all unwritten.
    pub fn empty_registers(&self) -> Registers<B> {
        Registers::new(
            self.registers.device().clone(),
            self.networks.backbone.parameters(),
            self.networks.projector.parameters(),
            self.networks.classifier.parameters(),
            self.seed,
        )
    }

    fn loss(&self) -> NtXent {
        NtXent { temperature: self.temperature }
    }

    fn pretext_tower(&self) -> Tower<'n> {
        Tower { backbone: &self.networks.backbone, head: &self.networks.projector }
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

    fn views(&self, views: TwoViews) -> Vec<Tensor<B, 4>> {
        let (batch, size) = (views.batch as usize, views.size as usize);
        let shape = [batch, 3, size, size];
        let device = self.registers.device();
        vec![upload(views.a, shape, device), upload(views.b, shape, device)]
    }

    /// Batch `index` of the upper level; asked for twice in a hypergradient, made once.
    fn upper_batch(&mut self, index: u32) -> Result<(Tensor<B, 4>, Targets), DriverError> {
        if let Some((kept, images, labels)) = &self.upper_batch
            && *kept == index
        {
            return Ok((images.clone(), labels.clone()));
        }
        let source = self.sources.upper.as_ref().ok_or(DriverError::NoBatches("downstream"))?;
        let Labelled { images, labels, batch, size } = source(index)?;
        let (batch, size) = (batch as usize, size as usize);
        let images = upload(images, [batch, 3, size, size], self.registers.device());
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
        // θ_P is about to move: products at the old one are over, and their memory with them.
        self.linearization = None;
        let source = self.sources.lower.as_ref().ok_or(DriverError::NoBatches("pretext"))?;
        let views = self.views(source(index)?);
        let parameters = self.parameters(Group::LowerBackbone, Group::PretextHead)?;
        let tower = self.pretext_tower();
        let gradients = tower.gradients(&parameters, views, &self.loss(), backbone.is_some());
        let running = (self.statistics.lower_backbone.clone(), self.statistics.projector.clone());
        let (lower_backbone, projector) = gradients.updated_statistics(tower, running);
        self.statistics.lower_backbone = lower_backbone;
        self.statistics.projector = projector;
        self.store(gradients, backbone, head)
    }

    fn linearize(&mut self, index: u32) -> Result<(), DriverError> {
        self.linearize_for(index, false)
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), DriverError> {
        let direction = self.registers.get(src)?;
        let product = self.curvature_product(&direction)?;
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
        let loss = downstream_loss(&labels, self.networks.classes(), self.multi_label);
        let views = vec![images];
        let gradients = tower.gradients(&parameters, views, loss.as_ref(), backbone.is_some());
        // g_P runs θ_P in training mode, too, but its statistics are those of the pretext data.
        if group == Group::UpperBackbone {
            let running = self.statistics.upper_backbone.clone();
            let nothing = Tensor::zeros([1], self.registers.device());
            let (upper_backbone, _) = gradients.updated_statistics(tower, (running, nothing));
            self.statistics.upper_backbone = upper_backbone;
        }
        self.store(gradients, backbone, head)
    }
}
