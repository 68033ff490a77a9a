//! Networks as data: layers, their sizes, and what a device trains.
//!
//! A layer is a value, not a type: one copy of each pass serves every network, and a flash image
//! can be compared with the program that reads it.

/// One layer. Samples are stored channel-last, `[y][x][channel]`, so a window of a sensor's samples
/// is one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `σ(x Wᵀ + b)`, W `[output][input]`.
    Dense {
        /// Floats of an input sample.
        inputs: u16,
        /// Floats of an output sample.
        outputs: u16,
        /// Whether there is a bias b.
        bias: bool,
        /// Whether σ is the ReLU; otherwise it is the identity.
        relu: bool,
    },
    /// See [`Convolution`].
    Convolution(Convolution),
    /// The mean over all positions of each channel.
    AveragePool {
        /// Channels.
        channels: u16,
        /// Positions of each channel.
        positions: u16,
    },
}

/// `σ(w ∗ x + b)` without padding, W `[filter][y][x][channel]`. A time series has height 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Channels of the input.
    pub channels: u16,
    /// Height of the input.
    pub height: u16,
    /// Width of the input.
    pub width: u16,
    /// Channels of the output.
    pub filters: u16,
    /// Height and width of the kernel, at most those of the input.
    pub kernel: [u16; 2],
    /// Steps along height and width, at least 1.
    pub stride: [u16; 2],
    /// Whether σ is the ReLU; otherwise it is the identity.
    pub relu: bool,
}

impl Convolution {
    /// Height and width of the output; 0 where the kernel is larger than the input.
    pub const fn output(&self) -> [usize; 2] {
        let [rows, columns] = self.kernel;
        let [down, right] = self.stride;
        [positions(self.height, rows, down), positions(self.width, columns, right)]
    }

    const fn kernel_floats(&self) -> usize {
        let [rows, columns] = self.kernel;
        rows as usize * columns as usize * self.channels as usize
    }
}

/// Positions of a window of `kernel` along `length`.
const fn positions(length: u16, kernel: u16, stride: u16) -> usize {
    match length.checked_sub(kernel) {
        Some(room) if stride > 0 => room as usize / stride as usize + 1,
        _ => 0,
    }
}

impl Layer {
    /// Floats of an input sample.
    pub const fn inputs(&self) -> usize {
        match self {
            Self::Dense { inputs, .. } => *inputs as usize,
            Self::Convolution(c) => c.channels as usize * c.height as usize * c.width as usize,
            Self::AveragePool { channels, positions } => *channels as usize * *positions as usize,
        }
    }

    /// Floats of an output sample.
    pub const fn outputs(&self) -> usize {
        match self {
            Self::Dense { outputs, .. } => *outputs as usize,
            Self::Convolution(c) => {
                let [rows, columns] = c.output();
                rows * columns * c.filters as usize
            }
            Self::AveragePool { channels, .. } => *channels as usize,
        }
    }

    /// Floats of W.
    pub const fn weights(&self) -> usize {
        match self {
            Self::Dense { inputs, outputs, .. } => *inputs as usize * *outputs as usize,
            Self::Convolution(c) => c.filters as usize * c.kernel_floats(),
            Self::AveragePool { .. } => 0,
        }
    }

    /// Floats of b.
    pub const fn biases(&self) -> usize {
        match self {
            Self::Dense { outputs, bias: true, .. } => *outputs as usize,
            Self::Convolution(c) => c.filters as usize,
            Self::Dense { .. } | Self::AveragePool { .. } => 0,
        }
    }

    /// Floats of W and b, in this order.
    pub const fn parameters(&self) -> usize {
        self.weights() + self.biases()
    }

    /// Whether a ReLU follows.
    pub const fn relu(&self) -> bool {
        match self {
            Self::Dense { relu, .. } => *relu,
            Self::Convolution(c) => c.relu,
            Self::AveragePool { .. } => false,
        }
    }

    /// Number of terms in the sum that is one element of the output.
    pub const fn fan_in(&self) -> usize {
        match self {
            Self::Dense { inputs, .. } => *inputs as usize,
            Self::Convolution(c) => c.kernel_floats(),
            Self::AveragePool { positions, .. } => *positions as usize,
        }
    }
}

/// Floats of all parameters of `layers`.
pub const fn parameters(layers: &[Layer]) -> usize {
    let mut sum = 0;
    let mut i = 0;
    while i < layers.len() {
        sum += layers[i].parameters();
        i += 1;
    }
    sum
}

/// Floats that one sample leaves in the trace of `layers`: all outputs.
pub const fn activations(layers: &[Layer]) -> usize {
    let mut sum = 0;
    let mut i = 0;
    while i < layers.len() {
        sum += layers[i].outputs();
        i += 1;
    }
    sum
}

/// Floats of the output of `layers` for a sample of `inputs` floats.
pub const fn outputs(layers: &[Layer], inputs: usize) -> usize {
    match layers.last() {
        Some(last) => last.outputs(),
        None => inputs,
    }
}

/// What a frame is: a picture, or a window of a sensor's samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Values at a position: 1 for a grey picture, 6 for an inertial sensor.
    pub channels: u16,
    /// Rows of a picture; 1 of a time series.
    pub height: u16,
    /// Columns of a picture; samples of a time series.
    pub width: u16,
    /// The smallest and the largest value that a sound sensor delivers.
    pub range: [f32; 2],
}

impl Input {
    /// Floats of a frame.
    pub const fn floats(&self) -> usize {
        self.channels as usize * self.height as usize * self.width as usize
    }
}

/// The matrix of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curvature {
    /// H, the Hessian of the pretext loss: exact, possibly indefinite.
    Hessian,
    /// The Gauss-Newton matrix, split at the masked logits: positive semi-definite, and cheaper.
    GaussNewton,
}

/// Networks and batches: everything that memory depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    /// The frames.
    pub input: Input,
    /// The backbone, from frames to features.
    pub encoder: &'static [Layer],
    /// Number of its first layers that are not trained; they stay in flash.
    pub frozen: usize,
    /// The pretext head.
    pub projector: &'static [Layer],
    /// Classes of the downstream task, at most 256.
    pub classes: u16,
    /// Frames of a pretext batch, two views of each; at least 2.
    pub pretext_batch: u16,
    /// Frames of the batch that products are computed on, from 2 to the pretext batch. NT-Xent
    /// couples its samples, so a smaller batch has the curvature of another function, not an
    /// estimate of this one's.
    pub product_batch: u16,
    /// Frames of a downstream batch.
    pub downstream_batch: u16,
    /// The matrix of the products.
    pub curvature: Curvature,
    /// Vectors that the solver keeps: [`SolverFacts::basis`](bissl_core::SolverFacts::basis).
    pub basis: u8,
    /// Products of these vectors that the solver keeps.
    pub basis_products: u8,
    /// Whether the heads' gradients share memory with vectors of the solver whose lifetimes do not
    /// overlap with theirs. Training never needs both at once. The conformance kit asks for all
    /// registers at any time and so needs `false`.
    pub shared: bool,
}

impl Model {
    /// The layers that are trained.
    pub const fn trained(&self) -> &'static [Layer] {
        match self.encoder.split_at_checked(self.frozen) {
            Some((_, trained)) => trained,
            None => &[],
        }
    }

    /// The layers in flash.
    pub const fn in_flash(&self) -> &'static [Layer] {
        match self.encoder.split_at_checked(self.frozen) {
            Some((in_flash, _)) => in_flash,
            None => self.encoder,
        }
    }

    /// Floats of the trained layers' input for one frame.
    pub const fn trained_inputs(&self) -> usize {
        outputs(self.in_flash(), self.input.floats())
    }

    /// Floats of the backbone's output.
    pub const fn features(&self) -> usize {
        outputs(self.encoder, self.input.floats())
    }

    /// Floats of the pretext head's output.
    pub const fn embedding(&self) -> usize {
        outputs(self.projector, self.features())
    }

    /// The downstream head.
    pub const fn classifier(&self) -> Layer {
        let inputs = self.features() as u16;
        Layer::Dense { inputs, outputs: self.classes, bias: true, relu: false }
    }

    /// Parameters that are trained: θ, φ_P and φ_D.
    pub const fn trained_parameters(&self) -> usize {
        parameters(self.trained()) + parameters(self.projector) + self.classifier().parameters()
    }

    /// Floats of a flash image's weights: the whole backbone and the pretext head.
    pub const fn image_weights(&self) -> usize {
        parameters(self.encoder) + parameters(self.projector)
    }

    /// Checks the model. In a constant, an invalid model is a compile error.
    ///
    /// # Panics
    /// The layers do not fit together, or a batch is out of its range.
    pub const fn check(&self) {
        assert!(self.frozen < self.encoder.len(), "at least one layer of the backbone is trained");
        assert!(!self.projector.is_empty(), "the pretext head has a layer");
        fit(self.input.floats(), self.encoder);
        fit(self.features(), self.projector);
        let last = &self.projector[self.projector.len() - 1];
        assert!(!last.relu(), "the pretext head's last layer has no activation");
        assert!(self.classes >= 2 && self.classes <= 256, "classes from 2 to 256");
        assert!(self.pretext_batch >= 2, "a pretext batch of at least 2 frames");
        assert!(self.product_batch >= 2 && self.product_batch <= self.pretext_batch);
        assert!(self.downstream_batch >= 1, "a downstream batch of at least 1 frame");
    }
}

const fn fit(mut inputs: usize, layers: &[Layer]) {
    let mut i = 0;
    while i < layers.len() {
        assert!(layers[i].inputs() == inputs, "a layer's input is the output before it");
        inputs = layers[i].outputs();
        assert!(inputs > 0, "a layer has an output");
        i += 1;
    }
}
