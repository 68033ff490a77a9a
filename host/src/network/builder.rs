//! From layers, one after the other, to a network.

use super::erased::{AnyLayer, OnEveryBackend};
use super::layer::Wanted;
use super::parameters::{Init, ParameterTable};
use super::plan::{Node, Plan, Slot};
use super::sequence::Network;
use super::shape::{BuildError, Shape, Unfit};
use super::{AveragePool, BatchNorm, Conv, Linear, MaxPool, Relu};

/// Composes a [`Network`]: every method appends a layer to what is there.
///
/// Shapes are followed as layers come. The first layer that does not fit is the error of
/// [`Builder::build`]; what comes after it is left out. The parameters of a layer called `name` are
/// called `name.weight` and so on, those of one without a name `weight`.
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
    /// A network on this input without layers so far.
    pub fn new(input: impl Into<Shape>) -> Self {
        let input = input.into();
        Self { plan: Plan::default(), input, shape: input, error: None }
    }

    /// A layer, of this package or another one.
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

    /// A `kernel` × `kernel` convolution to `channels` with "same" padding and without bias.
    #[must_use]
    pub fn conv(self, name: &str, channels: usize, kernel: usize, stride: usize) -> Self {
        self.layer(name, Conv::same(channels, kernel, stride))
    }

    /// Batch norm whose γ starts at 1.
    #[must_use]
    pub fn batch_norm(self, name: &str) -> Self {
        self.layer(name, BatchNorm { gamma: Init::One })
    }

    /// ReLU.
    #[must_use]
    pub fn relu(self) -> Self {
        self.layer("relu", Relu)
    }

    /// Max-pool; `padding` is less than `kernel`.
    #[must_use]
    pub fn max_pool(self, kernel: usize, stride: usize, padding: usize) -> Self {
        self.layer("max-pool", MaxPool { kernel, stride, padding })
    }

    /// The mean over all positions of each channel.
    #[must_use]
    pub fn average_pool(self) -> Self {
        self.layer("average-pool", AveragePool)
    }

    /// A linear layer with bias, on all values of a sample.
    #[must_use]
    pub fn linear(self, name: &str, features: usize) -> Self {
        let init = Init::UniformFanIn;
        self.layer(name, Linear { features_out: features, bias: true, init })
    }

    /// `main(x) + x`.
    #[must_use]
    pub fn residual(self, main: impl FnOnce(Self) -> Self) -> Self {
        self.residual_sum(main, |shortcut| shortcut)
    }

    /// `main(x) + shortcut(x)`. Either gets a builder to go on with; tensors and layers of `main`
    /// come first.
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

    /// What one sample is behind the last layer.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The network.
    ///
    /// # Errors
    /// A layer did not fit to what came before it, or its tensors have the names of others.
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

/// Appends a layer's tensors; a name that is there already is refused and returned.
fn append(table: &mut ParameterTable, layer: &str, wanted: Vec<Wanted>) -> Option<String> {
    for (name, shape, init) in wanted {
        let name = if layer.is_empty() { name } else { format!("{layer}.{name}") };
        if table.segments().iter().any(|segment| segment.name == name) {
            return Some(name);
        }
        table.push(name, &shape, init);
    }
    None
}
