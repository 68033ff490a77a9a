//! What is checked, and in which order.

/// One named check.
#[derive(Debug)]
pub(crate) struct Step {
    /// The name, as typed after `--only`.
    pub(crate) name: &'static str,
    /// The claim of the step, in one line.
    pub(crate) about: &'static str,
    pub(crate) target: Target,
    pub(crate) work: Work,
}

/// The target directory of cargo in which a step builds.
///
/// A directory works well for one set of features of the shared crates. In a single directory the
/// debug builds of the small packages and Burn's would take turns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// `target`: everything that needs Burn.
    Main,
    /// `target/light`: the packages without Burn, in debug.
    Light,
    /// `target/bare-metal`: builds with another compiler or sysroot.
    BareMetal,
}

/// The work of a step. Each line is the arguments of one call of cargo, split at spaces.
#[derive(Debug)]
pub(crate) enum Work {
    /// Calls that must succeed.
    Cargo(&'static [&'static str]),
    /// Calls that must succeed, and in which at least one test must have passed.
    Tests(&'static [&'static str]),
    /// The core and the firmware library for bare metal, see `bare_metal`.
    BareMetal,
    /// The device program on emulated boards, see `boards`.
    Boards,
    /// The README's first command on a small budget, see `demo`.
    Demo,
    /// Kernels, networks and the program on a software device, see `device`.
    Device,
}

/// All steps, cheap ones first, so that a common mistake is found in the first minute.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "format",
        about: "the sources are as rustfmt leaves them",
        target: Target::Light,
        work: Work::Cargo(&["fmt --all --check -- --color never"]),
    },
    Step {
        name: "lint-light",
        about: "clippy has nothing to say about the packages without Burn",
        target: Target::Light,
        work: Work::Cargo(&[
            "clippy -p bissl-core -p bissl-firmware -p bissl-firmware-sim -p bissl-tests \
             --all-targets -- -D warnings",
            "clippy -p bissl-core --features serde,defmt -- -D warnings",
            "clippy -p bissl-firmware-sim --features decode,defmt --all-targets -- -D warnings",
        ]),
    },
    Step {
        name: "test-light",
        about: "core, firmware, solver kit and architecture, in debug with overflow checks",
        target: Target::Light,
        work: Work::Tests(&[
            "test --no-fail-fast -p bissl-core -p bissl-firmware -p bissl-firmware-sim -p bissl-tests",
        ]),
    },
    Step {
        name: "bare-metal",
        about: "core and firmware library build for Cortex-M and RISC-V, where there is no alloc",
        target: Target::BareMetal,
        work: Work::BareMetal,
    },
    Step {
        name: "boards",
        about: "the device program ends in the same bits and log on emulated Cortex-M and RISC-V boards as here",
        target: Target::BareMetal,
        work: Work::Boards,
    },
    Step {
        name: "lint",
        about: "clippy has nothing to say about any target of the workspace",
        target: Target::Main,
        work: Work::Cargo(&[
            "clippy --workspace --all-targets --features bissl-tests/flex -- -D warnings",
        ]),
    },
    Step {
        name: "docs",
        about: "the documentation of core, firmware and host has no broken link",
        target: Target::Main,
        work: Work::Cargo(&["doc --no-deps -p bissl-core -p bissl-firmware -p bissl"]),
    },
    Step {
        name: "test-flex",
        about: "host and integration tests in release, on the default backend",
        target: Target::Main,
        work: Work::Tests(&[
            "test --no-fail-fast --release -p bissl -p bissl-tests --features bissl-tests/flex",
        ]),
    },
    Step {
        name: "demo",
        about: "the README's first command, on one seed and a small budget, leaves a report",
        target: Target::Main,
        work: Work::Demo,
    },
    Step {
        name: "test-f64",
        about: "layers and products against the oracles in f64",
        target: Target::Main,
        work: Work::Tests(&[
            "test --no-fail-fast --release -p bissl-tests --features flex,ndarray --test network",
        ]),
    },
    Step {
        name: "test-candle",
        about: "host and integration tests in release, on candle",
        target: Target::Main,
        work: Work::Tests(&[
            "test --no-fail-fast --release -p bissl -p bissl-tests --no-default-features \
             --features bissl/candle,bissl-tests/candle",
        ]),
    },
    Step {
        name: "test-device",
        about: "kernels, networks and every stage on a device, Mesa's software Vulkan, against f64",
        target: Target::Main,
        work: Work::Device,
    },
    Step {
        name: "check-cuda",
        about: "the host type-checks with the CUDA backend",
        target: Target::Main,
        work: Work::Cargo(&["check -p bissl --no-default-features --features cuda"]),
    },
];
