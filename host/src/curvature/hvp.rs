//! `hvp`: loss, gradient and curvature product of a state written by another program.
//!
//! All inputs and outputs are safetensors with torchvision's names, so that another framework can
//! compute and compare the same quantities.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Place, Result, fail};
use serde::Serialize;

use super::weights::State;
use crate::backend::{Work, available, dispatch};
use crate::config::{ConfigError, MethodName};
use crate::driver::upload_wide;
use crate::interchange::NetworkHints;
use crate::kernels::{BackendName, Kernels, read};
use crate::model::{default_pretext, method};
use crate::network::pretext::{Method, NtXent};
use crate::network::{
    Curvature, Linearization, LinearizationSettings, ParameterTable, TowerParameters,
};
use crate::run::{
    Precision, RealTensor, RealTensors, RunError, read_real_tensors, write_real_tensors,
};
use crate::text::shown;

/// The job of `hvp`.
#[derive(Clone, Debug, PartialEq)]
pub struct HvpJob {
    /// File of the backbone's and the pretext head's parameters.
    pub backbone: PathBuf,
    /// File of the target network (backbone and projector), if the method has one.
    pub target: Option<PathBuf>,
    /// File with `view_a` and `view_b`, `[batch, 3, height, width]`, normalised pixels.
    pub views: PathBuf,
    /// File with one tensor per parameter of the backbone.
    pub vector: PathBuf,
    /// Output file with `loss`, `gradient.NAME` and `product.NAME`.
    pub out: PathBuf,
    /// Properties that the backbone's file does not reveal.
    pub hints: NetworkHints,
    /// The pretext loss.
    pub objective: MethodName,
    /// τ of NT-Xent, above 0; `None`: the default preset's.
    pub temperature: Option<f64>,
    /// The curvature operator of the product.
    pub curvature: Curvature,
    /// Precision of computation and output; f64 needs the backend `ndarray`.
    pub precision: Precision,
    /// The backend; `None`: the first one of this binary that has the precision.
    pub backend: Option<BackendName>,
}

/// The report that `hvp` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HvpReport {
    /// Backbone, width, stem and projector.
    pub network: String,
    /// The pretext loss.
    pub objective: String,
    /// `hessian` or `gauss-newton`.
    pub curvature: String,
    /// `f32` or `f64`.
    pub precision: String,
    /// Name of the backend.
    pub backend: String,
    /// Images in each view, height and width in pixels.
    pub views: [usize; 3],
    /// L, nats.
    pub loss: f64,
    /// ‖∇L‖ over the backbone's parameters.
    pub gradient_norm: f64,
    /// ‖v‖.
    pub vector_norm: f64,
    /// ‖H v‖.
    pub product_norm: f64,
    /// vᵀ∇L.
    pub slope: f64,
    /// vᵀHv/vᵀv.
    pub rayleigh_quotient: f64,
}

/// Two views of one batch.
struct Views {
    /// `[batch, 3, height, width]`.
    shape: [usize; 4],
    values: [Vec<f64>; 2],
}

impl Views {
    fn read(path: &Path) -> Result<Self, RunError> {
        const NAMES: [&str; 2] = ["view_a", "view_b"];
        let mut tensors = read_real_tensors(path, |_| true)?;
        let mut take = |name: &str| {
            let expected = "expected [batch, 3, height, width], batch at least 2";
            let Some(tensor) = tensors.remove(name) else {
                let reason = format!("tensor {name} is missing, {expected}");
                return Err(RunError::unfit(path, reason));
            };
            match tensor.shape[..] {
                [batch, 3, height, width] if batch >= 2 && height > 0 && width > 0 => {
                    Ok(([batch, 3, height, width], tensor.values))
                }
                _ => {
                    let found = &tensor.shape;
                    let reason = format!("tensor {name} has shape {found:?}, {expected}");
                    Err(RunError::unfit(path, reason))
                }
            }
        };
        let ((shape, a), (other, b)) = (take(NAMES[0])?, take(NAMES[1])?);
        if shape != other {
            let reason = format!(
                "tensor view_b has shape {other:?}, expected that of view_a, {shape:?}: \
                 two views of the same images"
            );
            return Err(RunError::unfit(path, reason));
        }
        if let Some(name) = tensors.keys().next() {
            let reason = format!("tensor {name} is unknown, expected view_a and view_b alone");
            return Err(RunError::unfit(path, reason));
        }
        Ok(Self { shape, values: [a, b] })
    }
}

/// The backend for a job.
fn backend(job: &HvpJob) -> Result<BackendName, ConfigError> {
    let of = |name: BackendName| match name.element_bytes() {
        8 => Precision::F64,
        _ => Precision::F32,
    };
    match job.backend {
        Some(name) if of(name) != job.precision => Err(ConfigError::Section {
            place: format!("--precision {}", job.precision.name()),
            message: format!("backend `{name}` computes in {}", of(name).name()),
        }),
        Some(name) => Ok(name),
        None => {
            Ok(available().into_iter().find(|name| of(*name) == job.precision).unwrap_or(match job
                .precision
            {
                Precision::F32 => BackendName::Flex,
                Precision::F64 => BackendName::Ndarray,
            }))
        }
    }
}

/// Rejects an output that cannot be written, before any computation.
fn check_out(job: &HvpJob) -> Result<(), ConfigError> {
    let out = &job.out;
    let refuse = |message: String| {
        Err(ConfigError::Section { place: format!("--out {}", shown(out)), message })
    };
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return refuse(format!("found no folder {}, expected one", shown(folder)));
    }
    if out.is_dir() {
        return refuse("found a folder, expected the name of a file".to_owned());
    }
    let inputs =
        [("--backbone", &job.backbone), ("--views", &job.views), ("--vector", &job.vector)];
    for (flag, input) in inputs.into_iter().chain(job.target.iter().map(|file| ("--target", file)))
    {
        if let (Ok(ours), Ok(theirs)) = (out.canonicalize(), input.canonicalize())
            && ours == theirs
        {
            return refuse(format!("found the file of {flag}, expected a different one"));
        }
    }
    Ok(())
}

/// Rejects files and flags that the objective does not use, and requires those that it needs.
fn check_objective(job: &HvpJob) -> Result<(), ConfigError> {
    let predicts = default_pretext(job.objective).target_decay().is_some();
    let message = match &job.target {
        None if predicts => {
            "expected --target FILE with the target network's backbone and projector".to_owned()
        }
        Some(file) if !predicts => {
            format!("found --target {}, expected none: it has no target network", shown(file))
        }
        _ if job.temperature.is_some() && job.objective != MethodName::Simclr => {
            "found --temperature, expected none: only simclr has one".to_owned()
        }
        _ => return Ok(()),
    };
    Err(ConfigError::Section { place: format!("--objective {}", job.objective), message })
}

/// Computes and writes the output file.
///
/// # Errors
/// The backend is not available; a file cannot be read, does not fit or cannot be written; loss,
/// gradient or product is not finite.
pub fn hvp(job: HvpJob) -> Result<HvpReport> {
    check_objective(&job)?;
    check_out(&job)?;
    let name = backend(&job)?;
    let needs = format!("--precision {}", job.precision.name());
    dispatch(name, Compute { job, backend: name }).at(needs)?
}

/// A job that is run once its backend is known.
struct Compute {
    job: HvpJob,
    backend: BackendName,
}

impl Work for Compute {
    type Output = Result<HvpReport>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<HvpReport> {
        let Self { job, backend } = self;
        let state = State::read(&job.backbone, job.hints, job.objective)?;
        let method: Arc<dyn Method<B>> = match job.temperature {
            // As typed, in f64; a configuration stores it as f32.
            Some(temperature) => Arc::new(NtXent { temperature }),
            None => method(&state.config),
        };
        let target = job.target.as_ref().map(|path| state.read_target(path)).transpose()?;
        let views = Views::read(&job.views)?;
        let vector = state.read_direction(&job.vector)?;
        if vector.iter().all(|value| *value == 0.0) {
            let reason = "every element is 0, expected a direction";
            return Err(RunError::unfit(&job.vector, reason).into());
        }
        let shape = views.shape;
        let Products { loss, gradient, product } =
            Products::compute(&state, &*method, target, views, &vector, job.curvature, &device);
        for (what, values) in
            [("loss", &[loss][..]), ("gradient", &gradient), ("product", &product)]
        {
            if let Some(found) = values.iter().find(|value| !value.is_finite()) {
                fail!("the {what} of this state is {found}, expected finite numbers");
            }
        }
        let mut tensors = RealTensors::new();
        tensors.insert("loss".to_owned(), RealTensor { shape: Vec::new(), values: vec![loss] });
        let table = state.networks.backbone.parameters();
        insert(&mut tensors, "gradient", table, &gradient);
        insert(&mut tensors, "product", table, &product);
        write_real_tensors(&job.out, &tensors, job.precision)?;
        let [batch, _, height, width] = shape;
        Ok(HvpReport {
            network: state.name,
            objective: match method.settings_in_words() {
                Some(settings) => format!("{}, {settings}", job.objective),
                None => job.objective.to_string(),
            },
            curvature: job.curvature.name().to_owned(),
            precision: job.precision.name().to_owned(),
            backend: backend.name().to_owned(),
            views: [batch, height, width],
            loss,
            gradient_norm: dot(&gradient, &gradient).sqrt(),
            vector_norm: dot(&vector, &vector).sqrt(),
            product_norm: dot(&product, &product).sqrt(),
            slope: dot(&vector, &gradient),
            rayleigh_quotient: dot(&vector, &product) / dot(&vector, &vector),
        })
    }
}

/// The three results.
struct Products {
    loss: f64,
    gradient: Vec<f64>,
    product: Vec<f64>,
}

impl Products {
    fn compute<B: Kernels>(
        state: &State,
        method: &dyn Method<B>,
        target: Option<(Vec<f64>, Vec<f64>)>,
        Views { shape, values }: Views,
        vector: &[f64],
        curvature: Curvature,
        device: &B::Device,
    ) -> Self {
        let flat = |values: &[f64]| upload_wide::<B, 1>(values.to_vec(), [values.len()], device);
        let both = |backbone: &[f64], head: &[f64]| TowerParameters {
            backbone: flat(backbone),
            head: flat(head),
        };
        let views = values.map(|values| upload_wide::<B, 4>(values, shape, device)).to_vec();
        let target = target.map(|(backbone, head)| both(&backbone, &head));
        let beside = state.networks.target_tower().zip(target.as_ref());
        let loss = method.loss_beside(beside, &views);
        let settings = LinearizationSettings { with_gradient: true, ..curvature.into() };
        let (tower, parameters) =
            (state.networks.pretext_tower(), both(&state.backbone, &state.head));
        let at = Linearization::new(tower, parameters, views, loss, settings);
        Self {
            loss: at.value(),
            gradient: read(at.gradient().expect("the gradient was requested").clone()),
            product: read(at.product(&flat(vector))),
        }
    }
}

/// Splits a flat vector into the tensors of `table`, named `KIND.NAME`.
fn insert(tensors: &mut RealTensors, kind: &str, table: &ParameterTable, values: &[f64]) {
    for segment in table.segments() {
        let values = values[segment.offset..segment.offset + segment.len()].to_vec();
        let tensor = RealTensor { shape: segment.shape.clone(), values };
        tensors.insert(format!("{kind}.{}", segment.name), tensor);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl fmt::Display for HvpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [batch, height, width] = self.views;
        writeln!(f, "{}, {}", self.network, self.objective)?;
        writeln!(
            f,
            "{batch} images of {height}×{width} px in two views, {}, {} on {}",
            self.curvature, self.precision, self.backend
        )?;
        for (what, value) in [
            ("loss", self.loss),
            ("‖gradient‖", self.gradient_norm),
            ("‖vector‖", self.vector_norm),
            ("‖product‖", self.product_norm),
            ("vector · gradient", self.slope),
            ("vector · product / ‖vector‖²", self.rayleigh_quotient),
        ] {
            writeln!(f, "{what:<29} {value:.9e}")?;
        }
        Ok(())
    }
}
