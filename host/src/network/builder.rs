//! Builds a network from layers, one after the other.

use super::erased::{AnyLayer, OnEveryBackend};
use super::layer::TensorSpec;
use super::parameters::{Init, ParameterTable};
use super::plan::{Node, Plan, Slot};
use super::sequence::Network;
use super::shape::{BuildError, Shape, Unfit};
use super::{AveragePool, BatchNorm, Conv, Linear, MaxPool, Relu};

/// Composes a [`Network`]: every method appends a layer.
///
/// Shapes are checked as layers arrive. The first layer that does not fit becomes the error of
/// [`Builder::build`], and the layers after it are ignored. The parameters of a layer named `name`
/// are called `name.weight` and so on; those of a layer without a name are called `weight`.
///
/// ```
/// use bissl::network::{Builder, Shape};
///
/// let backbone = Builder::new([3, 32, 32])
///     .conv("stem", 8, 3, 2)
///     .batch_norm("norm")
///     .relu()
///     .residual(|main| main.conv("block.0", 8, 3, 1).batch_norm("block.1"))
///     .relu()
///     .average_pool()
///     .build()?;
/// assert_eq!(backbone.output_shape(), Shape::features(8));
/// # Ok::<(), bissl::network::BuildError>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    plan: Plan,
    input: Shape,
    shape: Shape,
    error: Option<BuildError>,
}

impl Builder {
    /// An empty network on this input.
    pub fn new(input: impl Into<Shape>) -> Self {
        let input = input.into();
        Self { plan: Plan::default(), input, shape: input, error: None }
    }

    /// Appends a layer of this or another package.
    #[must_use]
    pub fn layer(mut self, name: &str, layer: impl OnEveryBackend) -> Self {
        if self.error.is_some() {
            return self;
        }
        let layout = match layer.layout(self.shape) {
            Ok(layout) => layout,
            Err(reason) => return self.refuse(name, reason),
        };
        let Plan { slots, parameters, statistics, nodes } = &mut self.plan;
        let (of_parameters, of_statistics) =
            (parameters.segments().len(), statistics.segments().len());
        let taken = append(parameters, name, layout.parameters)
            .or_else(|| append(statistics, name, layout.statistics));
        if let Some(taken) = taken {
            let reason = Unfit::new(format!("a second tensor {taken:?}"), "a name of its own");
            return self.refuse(name, reason);
        }
        nodes.push(Node::Layer(slots.len()));
        slots.push(Slot {
            layer: AnyLayer::new(layer),
            parameters: of_parameters..parameters.segments().len(),
            statistics: of_statistics..statistics.segments().len(),
            is_piecewise_linear: layout.is_piecewise_linear,
        });
        self.shape = layout.output;
        self
    }

    /// Appends a `kernel` × `kernel` convolution to `channels` with "same" padding and without
    /// bias.
    #[must_use]
    pub fn conv(self, name: &str, channels: usize, kernel: usize, stride: usize) -> Self {
        self.layer(name, Conv::same(channels, kernel, stride))
    }

    /// Appends a batch norm whose γ starts at 1.
    #[must_use]
    pub fn batch_norm(self, name: &str) -> Self {
        self.layer(name, BatchNorm { gamma: Init::One })
    }

    /// Appends a ReLU.
    #[must_use]
    pub fn relu(self) -> Self {
        self.layer("relu", Relu)
    }

    /// Appends a max-pool; `padding` is less than `kernel`.
    #[must_use]
    pub fn max_pool(self, kernel: usize, stride: usize, padding: usize) -> Self {
        self.layer("max-pool", MaxPool { kernel, stride, padding })
    }

    /// Appends the mean over all positions of each channel.
    #[must_use]
    pub fn average_pool(self) -> Self {
        self.layer("average-pool", AveragePool)
    }

    /// Appends a linear layer with bias, on all values of a sample.
    #[must_use]
    pub fn linear(self, name: &str, features: usize) -> Self {
        let init = Init::UniformFanIn;
        self.layer(name, Linear { features_out: features, bias: true, init })
    }

    /// Appends `main(x) + x`.
    #[must_use]
    pub fn residual(self, main: impl FnOnce(Self) -> Self) -> Self {
        self.residual_sum(main, |shortcut| shortcut)
    }

    /// Appends `main(x) + shortcut(x)`. Each branch continues the builder that it gets; the tensors
    /// and layers of `main` come first.
    #[must_use]
    pub fn residual_sum(
        mut self,
        main: impl FnOnce(Self) -> Self,
        shortcut: impl FnOnce(Self) -> Self,
    ) -> Self {
        let before = std::mem::take(&mut self.plan.nodes);
        let input = self.shape;
        let mut built = main(self);
        let main = std::mem::take(&mut built.plan.nodes);
        let output = std::mem::replace(&mut built.shape, input);
        let mut built = shortcut(built);
        let shortcut = std::mem::replace(&mut built.plan.nodes, before);
        if built.error.is_none() && built.shape != output {
            let reason = Unfit::new(
                format!("{output} beside a shortcut of {}", built.shape),
                "two branches of one shape",
            );
            return built.refuse("residual sum", reason);
        }
        built.plan.nodes.push(Node::Residual { main, shortcut });
        built
    }

    /// Shape of one sample after the last layer.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Finishes the network.
    ///
    /// # Errors
    /// A layer did not fit what came before it, or a tensor's name was taken.
    pub fn build(self) -> Result<Network, BuildError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Network::new(self.plan, self.input, self.shape)),
        }
    }

    fn refuse(mut self, layer: &str, reason: Unfit) -> Self {
        let slot = self.plan.slots.len();
        self.error = Some(BuildError { slot, layer: layer.to_owned(), reason });
        self
    }
}

/// Appends a layer's tensors, or refuses and returns a name that is taken.
fn append(table: &mut ParameterTable, layer: &str, wanted: Vec<TensorSpec>) -> Option<String> {
    for (name, shape, init) in wanted {
        let name = if layer.is_empty() { name } else { format!("{layer}.{name}") };
        if table.segments().iter().any(|segment| segment.name == name) {
            return Some(name);
        }
        table.push(name, &shape, init);
    }
    None
}
