//! Checks the core's machines on problems with closed forms.
//!
//! Everything runs on f32 vectors with the constants below, regardless of the configuration's λ, δ
//! and γ: these checks find errors of a machine, at a conditioning at which f32 is not the limit.
//! Only solver, rank, capacity and step length come from the configuration.

use crate::error::{Error, Result, fail};
use bissl_core::{
    Bank, Coupling, Group, Hypergradient, HypergradientSettings, LowerObjective, Progress,
    Register, SolverFacts, SolverMemory, SolverSettings, Stream, Training, drive,
};

use super::checks::{Check, Checks};
use super::dense::{Matrix, add, differences, relative, scale, wide};
use super::forms::{BACKBONE, Form, Link, Quadratic, Regression};
use super::slices::Slices;
use crate::config::{AlignSettings, SolverName};

/// λ.
const PROXIMITY: f64 = 0.5;
/// δ; λ + δ = 1.
const DAMPING: f64 = 0.5;
/// γ.
const DIRECT_WEIGHT: f64 = 0.75;
/// m of M-FAC.
const GRADIENTS: u8 = 5;
/// Solves of SOBA on one system: for ρ ≥ 0.05 its error falls below that of f32.
const SOBA_SOLVES: u32 = 400;

/// Gradients and products are rounded to f32 once when they leave the machine's vectors (6e-8).
/// Central differences in f64 add 1e-9.
const ROUNDED: f64 = 1e-6;
/// Solves stop at ‖r‖ ≤ 1e-6 ‖x‖. With A ≥ 1 on the quadratic this is 1e-6 of x. The regressions'
/// smallest eigenvalue near 0.1 makes it 1e-5, and f32 recurrences add a few roundings of 6e-8
/// times the condition number of about 100. Measured: below 1e-6.
const SOLVED: f64 = 5e-5;
/// Tolerance of the solves.
const TOLERANCE: f32 = 1e-6;

/// Settings of a solver: the configuration's, with this module's constants.
fn solver(align: &AlignSettings, name: SolverName) -> Result<SolverSettings> {
    let settings = AlignSettings {
        solver: name,
        tolerance: TOLERANCE,
        correction_tolerance: 0.0,
        iterations: 400,
        verify_every: 1,
        nystrom_rank: BACKBONE as u8,
        mfac_gradients: Some(usize::from(GRADIENTS)),
        proximity: PROXIMITY as f32,
        ..align.clone()
    };
    let solver = settings.solver()?;
    if solver.facts().stops_by_tolerance {
        return Ok(solver);
    }
    // The layer-wise solver has no other stopping rule. With one segment it is CG.
    Ok(AlignSettings { iterations: 2 * BACKBONE as u16, ..settings }.solver()?)
}

/// The solvers to check on a form: the two exact ones and, if it is different, the configured one.
fn solvers(align: &AlignSettings, coupling: Coupling) -> Result<Vec<SolverName>> {
    let mut names = vec![SolverName::Cg, SolverName::RecycledCg];
    // With a general coupling A is H + δ I, which series, low-rank and one-step solvers do not
    // solve.
    let general = solver(align, align.solver)?.facts().solves_general;
    if (general || coupling != Coupling::General) && !names.contains(&align.solver) {
        names.push(align.solver);
    }
    Ok(names)
}

/// A form at a point, with everything that its hypergradient is compared with.
struct Case<F> {
    slices: Slices<F>,
    coupling: Coupling,
    damping: f64,
}

impl<F: Form> Case<F> {
    /// At a random u and φ, and at the w where the lower level ends, all rounded to f32.
    fn new(form: F, coupling: Coupling, damping: f64, seed: u64) -> Self {
        let [_, upper, head] = form.lengths();
        let mut draws = Stream::new(seed, 2).at(0);
        let mut normal =
            |len: usize| -> Vec<f64> { (0..len).map(|_| f64::from(draws.normal())).collect() };
        let mut slices = Slices::new(form, seed);
        // Ridge weights must be positive.
        let u: Vec<f64> = match coupling {
            Coupling::General => normal(upper).iter().map(|x| 0.3 + 0.1 * x.abs()).collect(),
            Coupling::Proximity { .. } => normal(upper),
        };
        slices.write(Register::Parameter(Group::UpperBackbone), &u);
        slices.write(Register::Parameter(Group::DownstreamHead), &normal(head));
        let mut case = Self { slices, coupling, damping };
        let w = case.slices.form.solution(&case.point(Group::UpperBackbone), case.proximity());
        case.slices.write(Register::Parameter(Group::LowerBackbone), &w);
        case
    }

    fn point(&self, group: Group) -> Vec<f64> {
        self.slices.wide(Register::Parameter(group))
    }

    fn proximity(&self) -> f64 {
        match self.coupling {
            Coupling::Proximity { weight } => f64::from(weight),
            Coupling::General => 0.0,
        }
    }

    /// A as the method defines it for this solver.
    fn matrix(&self, facts: SolverFacts) -> Matrix {
        if !facts.uses_products {
            // With no gradients this is I, too.
            let gradients: Vec<Vec<f64>> = (0..facts.gradients).map(mfac_gradient).collect();
            let factor = 1.0 / (f64::from(GRADIENTS) * PROXIMITY);
            return Matrix::new(BACKBONE, BACKBONE, |i, j| {
                let sum: f64 = gradients.iter().map(|g| g[i] * g[j]).sum();
                factor * sum + f64::from(i == j)
            });
        }
        let [w, u] = [Group::LowerBackbone, Group::UpperBackbone].map(|group| self.point(group));
        let hessian = self.slices.form.hessian(&w, &u);
        match self.coupling {
            Coupling::Proximity { .. } => {
                hessian.scaled_and_shifted(1.0 / (self.proximity() + self.damping), 1.0)
            }
            Coupling::General => hessian.scaled_and_shifted(1.0, self.damping),
        }
    }

    /// x and the hypergradients in u and φ, by dense algebra.
    fn expected(&self, facts: SolverFacts) -> [Vec<f64>; 3] {
        let form = &self.slices.form;
        let [w, u, phi] = [Group::LowerBackbone, Group::UpperBackbone, Group::DownstreamHead]
            .map(|group| self.point(group));
        let (_, rhs, phi_at_lower) = form.at_lower(&w, &phi);
        let (_, direct, phi_at_upper) = form.at_upper(&u, &phi);
        let x = self.matrix(facts).solve(&rhs);
        let implicit = match self.coupling {
            Coupling::Proximity { .. } => x.clone(),
            Coupling::General => form.cross(&w, &u, &x),
        };
        let by_u = add(&implicit, DIRECT_WEIGHT, &direct);
        [x, by_u, add(&phi_at_lower, DIRECT_WEIGHT, &phi_at_upper)]
    }

    /// The last of a few hypergradients of the same system, so that recycling and SOBA use their
    /// banks.
    fn hypergradient(
        &mut self,
        solver: SolverSettings,
        direct_weight: f64,
    ) -> Result<HypergradientSettings> {
        let (damping, weight) = (self.damping as f32, direct_weight as f32);
        let settings = HypergradientSettings::new(self.coupling, damping, weight, solver)?;
        let facts = solver.facts();
        let mut memory = SolverMemory::filled(facts.gradients);
        for index in 0..facts.gradients {
            let gradient = mfac_gradient(index);
            self.slices.write(Register::Banked(Bank::Basis, index), &gradient);
        }
        let solves = if facts.lasting_registers.is_empty() { 2 } else { SOBA_SOLVES };
        let mut scalars = vec![0.0; facts.scalars(1).max(16)];
        self.slices.linearize(0).map_err(Error::failed)?;
        for index in 0..solves {
            let mut machine = Hypergradient::new(settings, index).with_memory(memory);
            match drive(&mut machine, &mut Training(&mut self.slices), &mut scalars)
                .map_err(Error::failed)?
            {
                Progress::Done(_) => memory = machine.memory(),
                Progress::Event(event) => fail!("a hypergradient has no events, found {event:?}"),
            }
        }
        Ok(settings)
    }

    /// Compares gradient and product with differences.
    fn derivatives(&mut self, checks: &mut Checks) -> Result<()> {
        let name = self.slices.form.name();
        let u = self.point(Group::UpperBackbone);
        // A point where the gradient is far from zero.
        let w: Vec<f64> = wide(&self.slices.read(Register::Parameter(Group::LowerBackbone)))
            .iter()
            .enumerate()
            .map(|(i, w)| w + 0.5 * (1.0 + i as f64).sin())
            .collect();
        let kept = self.point(Group::LowerBackbone);
        self.slices.write(Register::Parameter(Group::LowerBackbone), &w);
        let w = self.point(Group::LowerBackbone);
        self.slices
            .lower_gradient(0, Some(Register::Residual), Register::PretextHeadGradient)
            .map_err(Error::failed)?;
        let gradient = self.slices.wide(Register::Residual);
        let form = &self.slices.form;
        let expected = differences(&w, |w| form.lower(w, &u).0);
        checks.add(Check::new(name, "gradient", relative(&gradient, &expected), ROUNDED));

        let direction: Vec<f64> = (0..w.len()).map(|i| (1.0 + 2.0 * i as f64).cos()).collect();
        self.slices.write(Register::Direction, &direction);
        let direction = self.slices.wide(Register::Direction);
        self.slices.product(Register::Direction, Register::Product).map_err(Error::failed)?;
        let step = 1e-5;
        let at = |step: f64| self.slices.form.lower(&add(&w, step, &direction), &u).1;
        let expected = scale(0.5 / step, &add(&at(step), -1.0, &at(-step)));
        let product = self.slices.wide(Register::Product);
        checks.add(Check::new(name, "product", relative(&product, &expected), ROUNDED));
        self.slices.write(Register::Parameter(Group::LowerBackbone), &kept);
        Ok(())
    }

    /// Compares a solver's solution and hypergradient with dense algebra.
    fn solves(
        &mut self,
        align: &AlignSettings,
        name: SolverName,
        checks: &mut Checks,
    ) -> Result<()> {
        let form = self.slices.form.name();
        let solver = solver(align, name)?;
        let [x, by_u, by_phi] = self.expected(solver.facts());
        self.hypergradient(solver, 0.0)?;
        let error = relative(&self.slices.wide(Register::Solution), &x);
        checks.add(Check::new(form, format!("solve, {name}"), error, SOLVED));
        let settings = self.hypergradient(solver, DIRECT_WEIGHT)?;
        let error = relative(&self.slices.wide(settings.result()), &by_u)
            .max(relative(&self.slices.wide(Register::DownstreamHeadGradient), &by_phi));
        checks.add(Check::new(form, format!("hypergradient, {name}"), error, SOLVED));
        Ok(())
    }

    /// Compares the hypergradient at δ = 0 with differences of the upper loss, for which the lower
    /// level is solved anew.
    fn implicit(&mut self, align: &AlignSettings, checks: &mut Checks) -> Result<()> {
        let damping = std::mem::replace(&mut self.damping, 0.0);
        let settings = self.hypergradient(solver(align, SolverName::Cg)?, DIRECT_WEIGHT)?;
        let [u, phi] = [Group::UpperBackbone, Group::DownstreamHead].map(|group| self.point(group));
        let form = &self.slices.form;
        let proximity = self.proximity();
        let expected = differences(&u, |u| form.objective(u, &phi, proximity, DIRECT_WEIGHT));
        let error = relative(&self.slices.wide(settings.result()), &expected);
        let what = "hypergradient, cg, delta = 0, differences";
        checks.add(Check::new(form.name(), what, error, SOLVED));
        self.damping = damping;
        Ok(())
    }

    fn all(mut self, align: &AlignSettings, checks: &mut Checks) -> Result<()> {
        self.derivatives(checks)?;
        for name in solvers(align, self.coupling)? {
            self.solves(align, name, checks)?;
        }
        self.implicit(align, checks)
    }
}

/// Gradients given to M-FAC instead of lower gradients.
fn mfac_gradient(index: u8) -> Vec<f64> {
    let mut draws = Stream::new(u64::from(index), 3).at(0);
    (0..BACKBONE).map(|_| f64::from(draws.normal())).collect()
}

/// Checks the bilevel quadratic, ridge regression and logistic regression.
///
/// # Errors
/// A solver's settings are out of range, or a form does not know a request.
pub(super) fn check(align: &AlignSettings, seed: u64, checks: &mut Checks) -> Result<()> {
    let proximity = Coupling::Proximity { weight: PROXIMITY as f32 };
    Case::new(Quadratic::new(seed), proximity, DAMPING, seed).all(align, checks)?;
    for link in [Link::Squares, Link::Logistic] {
        let form = Regression::new(link, seed, 10);
        Case::new(form, Coupling::General, 0.0, seed).all(align, checks)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    /// A ridge regression whose cross derivative has the wrong sign.
    struct Wrong(Regression);

    impl Form for Wrong {
        fn name(&self) -> &'static str {
            "wrong"
        }

        fn lengths(&self) -> [usize; 3] {
            self.0.lengths()
        }

        fn lower(&self, w: &[f64], u: &[f64]) -> (f64, Vec<f64>) {
            self.0.lower(w, u)
        }

        fn hessian(&self, w: &[f64], u: &[f64]) -> Matrix {
            // Without the regularisation this is not the Hessian of `lower`.
            self.0.hessian(w, u).scaled_and_shifted(1.0, -0.1)
        }

        fn cross(&self, w: &[f64], u: &[f64], x: &[f64]) -> Vec<f64> {
            scale(-1.0, &self.0.cross(w, u, x))
        }

        fn at_lower(&self, w: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
            self.0.at_lower(w, phi)
        }

        fn at_upper(&self, u: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
            self.0.at_upper(u, phi)
        }

        fn solution(&self, u: &[f64], proximity: f64) -> Vec<f64> {
            self.0.solution(u, proximity)
        }
    }

    #[test]
    fn every_solver_solves_the_closed_forms() {
        for name in SolverName::NAMES {
            let config = crate::config::Layers::preset(Preset::Default)
                .flag("--solver", "align.solver", name)
                .flag("--curvature", "align.curvature", "gauss-newton")
                .resolve()
                .unwrap();
            assert_eq!(config.align.solver().unwrap().name(), *name);
            for seed in 0..3 {
                let mut checks = Checks::default();
                check(&config.align, seed, &mut checks).unwrap();
                let failed: Vec<_> = checks.done.iter().filter(|check| !check.ok).collect();
                assert!(failed.is_empty(), "{name}, seed {seed}: {failed:?}");
                assert!(checks.done.iter().any(|check| check.name.contains(name)), "{name}");
            }
        }
    }

    #[test]
    fn a_wrong_product_and_a_wrong_cross_derivative_fail() {
        let align = Preset::Default.config().align;
        let form = Wrong(Regression::new(Link::Squares, 0, 10));
        let mut checks = Checks::default();
        Case::new(form, Coupling::General, 0.0, 0).all(&align, &mut checks).unwrap();
        let failed: Vec<_> =
            checks.done.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect();
        let expected = ["product", "hypergradient, cg, delta = 0, differences"];
        assert_eq!(failed, expected);
    }
}
