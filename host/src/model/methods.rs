//! The pretext methods that a configuration can name.

use std::sync::Arc;

use crate::config::{MethodName, Preset, RunConfig};
use crate::kernels::Kernels;
use crate::network::pretext::{BarlowTwins, Byol, Method, NtXent, PretextTask, Vicreg};

/// The only table of methods: how to make each from its section of a configuration.
macro_rules! methods {
    ($config:ident: $($name:ident => $method:expr,)+) => {
        /// The backend-independent part of a configuration's pretext method.
        pub(crate) fn pretext($config: &RunConfig) -> Box<dyn PretextTask> {
            match $config.pretext.method {
                $(MethodName::$name => Box::new($method),)+
            }
        }

        /// A configuration's pretext method.
        pub(crate) fn method<B: Kernels>($config: &RunConfig) -> Arc<dyn Method<B>> {
            match $config.pretext.method {
                $(MethodName::$name => Arc::new($method),)+
            }
        }
    };
}

methods! {
    config:
    Simclr => NtXent { temperature: f64::from(config.simclr.temperature) },
    Byol => Byol {
        decay: f64::from(config.byol.decay),
        predictor: config.byol.predictor.clone(),
    },
    Vicreg => Vicreg {
        invariance: f64::from(config.vicreg.invariance),
        variance: f64::from(config.vicreg.variance),
        covariance: f64::from(config.vicreg.covariance),
        deviation: f64::from(config.vicreg.deviation),
        epsilon: f64::from(config.vicreg.epsilon),
    },
    BarlowTwins => BarlowTwins { off_diagonal: f64::from(config.barlow_twins.off_diagonal) },
}

/// A method with the settings of the default preset.
pub(crate) fn default_pretext(name: MethodName) -> Box<dyn PretextTask> {
    let mut config = Preset::Default.config();
    config.pretext.method = name;
    pretext(&config)
}
