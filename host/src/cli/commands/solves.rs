//! What the linear solves of a stage came to, for the end of a run.

use std::fmt;
use std::path::Path;

use crate::report::statistics::median;
use crate::run::{Record, RunError, Solve, read_records};

/// The solves of one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SolveSummary {
    solves: Vec<Solve>,
    alternations: u32,
}

impl SolveSummary {
    /// Reads the solves of `stage` from a run's metrics, those of earlier sessions included.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub(super) fn read(metrics: &Path, stage: &str) -> Result<Self, RunError> {
        let mut summary = Self::default();
        for record in read_records(metrics) {
            match record? {
                Record::UpperStep { stage: of, alternation, solve, .. } if of == stage => {
                    summary.add(alternation, solve);
                }
                _ => {}
            }
        }
        Ok(summary)
    }

    fn add(&mut self, alternation: u32, solve: Solve) {
        self.alternations = self.alternations.max(alternation + 1);
        self.solves.push(solve);
    }

    /// `termination: count`, in the order in which they first occur.
    fn terminations(&self) -> String {
        let mut counts: Vec<(String, usize)> = Vec::new();
        for solve in &self.solves {
            let name = solve.termination_name();
            match counts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => counts.push((name, 1)),
            }
        }
        let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        counts.join(", ")
    }
}

/// Median, smallest and largest of what the solves report; nothing where none does.
fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    values: impl Iterator<Item = Option<f32>>,
) -> fmt::Result {
    let values: Vec<f64> = values.flatten().map(f64::from).collect();
    let Some(low) = values.iter().copied().reduce(f64::min) else { return Ok(()) };
    let high = values.iter().copied().fold(low, f64::max);
    writeln!(f, "  {name:<26} {:.2e}  ({low:.2e} to {high:.2e})", median(&values))
}

impl fmt::Display for SolveSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.solves.is_empty() {
            return Ok(());
        }
        let products: u32 = self.solves.iter().map(|solve| u32::from(solve.products)).sum();
        writeln!(
            f,
            "{} solves in {} alternations, {products} products ({:.2} a solve): {}",
            self.solves.len(),
            self.alternations,
            f64::from(products) / self.solves.len() as f64,
            self.terminations()
        )?;
        line(f, "|r|/|b|, median (range)", self.solves.iter().map(|solve| solve.residual))?;
        line(f, "|x - b|/|b|", self.solves.iter().map(|solve| solve.correction))?;
        line(f, "cos(x, b)", self.solves.iter().map(|solve| solve.cosine))?;
        line(f, "|x|/|b|", self.solves.iter().map(|solve| solve.solution_ratio))?;
        line(f, "largest pHp/pp of a solve", self.solves.iter().map(|solve| solve.rayleigh_max))?;
        line(f, "smallest pHp/pp of a solve", self.solves.iter().map(|solve| solve.rayleigh_min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bissl_core::Termination;

    fn solve(termination: Termination, products: u16, residual: Option<f32>) -> Solve {
        Solve {
            termination,
            products,
            residual,
            correction: Some(0.5),
            cosine: None,
            solution_ratio: Some(0.75),
            rayleigh_max: Some(2.0),
            rayleigh_min: Some(-1.0),
        }
    }

    #[test]
    fn a_summary_counts_endings_and_gives_medians_of_what_was_reported() {
        let mut summary = SolveSummary::default();
        assert_eq!(summary.to_string(), "", "a stage without solves has nothing to say");
        summary.add(0, solve(Termination::Converged, 3, Some(0.01)));
        summary.add(0, solve(Termination::Unverified, 1, None));
        summary.add(1, solve(Termination::Converged, 2, Some(0.03)));
        let text = summary.to_string();
        let first = "3 solves in 2 alternations, 6 products (2.00 a solve): \
                     2 converged, 1 unverified\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("2.00e-2  (1.00e-2 to 3.00e-2)"), "{text}");
        assert!(!text.contains("cos(x, b)"), "{text}");
    }
}
