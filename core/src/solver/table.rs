//! From one row a solver to the choice among them.

/// The enums over all solvers, and their dispatch.
///
/// A row is `Machine(settings: Settings) = "name";`, without the parenthesis where there is nothing
/// to set; `settings` is any identifier. Stored machines count the rows: new ones go to the end.
macro_rules! solvers {
    ($($solver:ident $(($settings:ident: $type:ty))? = $name:literal;)*) => {
        /// Which solver, with its settings.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum SolverSettings {
            $(#[doc = concat!("`", $name, "`.")] $solver $(($type))?,)*
        }

        impl SolverSettings {
            /// The solver's name, as in a configuration.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$solver { .. } => $name,)*
                }
            }

            /// The facts about the solver with these settings.
            pub fn facts(&self) -> SolverFacts {
                Solver::facts(self)
            }
        }

        /// A solve of `A x = b` by any of the solvers: b in `Residual`, x in `Solution`.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum Solver {
            $(#[doc = concat!("`", $name, "`.")] $solver($solver),)*
        }

        impl Solver {
            /// A solve that has not begun; `memory` is that of the solve before, with the same A.
            pub fn new(settings: SolverSettings, memory: SolverMemory) -> Self {
                match settings {
                    $(SolverSettings::$solver $(($settings))? => {
                        Self::$solver($solver::begin(or_unit!($($settings)?), memory.into()))
                    })*
                }
            }

            /// What the next solve continues with.
            pub fn memory(&self) -> SolverMemory {
                match self {
                    $(Self::$solver(machine) => LinearSolver::memory(machine).into(),)*
                }
            }
        }

        $(impl Sealed for $solver {})*
        impl Sealed for Solver {}

        impl LinearSolver for Solver {
            type Settings = SolverSettings;
            type Memory = SolverMemory;

            fn begin(settings: SolverSettings, memory: SolverMemory) -> Self {
                Self::new(settings, memory)
            }

            fn request(&self) -> Request {
                match self {
                    $(Self::$solver(machine) => machine.request(),)*
                }
            }

            fn facts(settings: &SolverSettings) -> SolverFacts {
                match *settings {
                    $(SolverSettings::$solver $(($settings))? => {
                        $solver::facts(&or_unit!($($settings)?))
                    })*
                }
            }

            fn memory(&self) -> SolverMemory {
                self.memory()
            }

            fn relinearized(settings: &SolverSettings, memory: SolverMemory) -> SolverMemory {
                match *settings {
                    $(SolverSettings::$solver $(($settings))? => {
                        $solver::relinearized(&or_unit!($($settings)?), memory.into()).into()
                    })*
                }
            }

            fn check(settings: &SolverSettings, coupling: Coupling) -> Result<(), ConfigError> {
                match *settings {
                    $(SolverSettings::$solver $(($settings))? => {
                        $solver::check(&or_unit!($($settings)?), coupling)
                    })*
                }
            }
        }

        impl Machine for Solver {
            type Output = Report;

            fn pending(&self) -> Pending<Report> {
                match self {
                    $(Self::$solver(machine) => machine.pending(),)*
                }
            }

            fn step(
                &mut self,
                ticket: Ticket,
                reply: Reply,
                scalars: &mut [f32],
            ) -> Result<(), UnexpectedReply> {
                match self {
                    $(Self::$solver(machine) => machine.step(ticket, reply, scalars),)*
                }
            }
        }
    };
}

/// The settings of a row, or those of a solver that has none.
macro_rules! or_unit {
    () => {
        ()
    };
    ($settings:ident) => {
        $settings
    };
}

pub(super) use {or_unit, solvers};
