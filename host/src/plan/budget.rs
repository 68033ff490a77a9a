//! Chooses settings that keep a time budget.

use std::time::Duration;

use crate::error::{Result, fail};
use serde::Serialize;

use crate::config::{AlignSettings, SolverName};

/// Shares of the correction that a solve may miss, from the default to the loosest useful one: at
/// 0.5 half of the second-order correction is left.
const SHARES: [f32; 4] = [0.1, 0.2, 0.3, 0.5];

/// Parses `90m`, `2h`, `1h30m` or `1.5d`.
///
/// # Errors
/// A message that says what was expected.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("found `{text}`, expected a time above 0 such as 45s, 90m, 2h, 1h30m or 1d");
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let unit = tail.chars().next().ok_or_else(wrong)?;
        let length = match unit {
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            'd' => 86_400.0,
            _ => return Err(wrong()),
        };
        seconds += number * length;
        rest = &tail[unit.len_utf8()..];
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong()),
    }
}

/// Settings of the stage that were considered, and their estimated cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The solver.
    pub solver: String,
    /// Share of the correction that a solve may miss, if the solver has such a tolerance.
    pub correction_tolerance: Option<f32>,
    /// T.
    pub alternations: u32,
    /// Seconds per alternation.
    pub alternation_s: f64,
    /// Seconds for the stage.
    pub stage_s: f64,
    /// Whether the stage fits into the budget.
    pub fits: bool,
}

/// The settings chosen for a budget.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BudgetChoice {
    /// The user's budget for `align`, seconds.
    pub budget_s: f64,
    /// Estimated seconds of the budget for the head's warm-up.
    pub warm_up_s: f64,
    /// All settings that were considered. The last ones are chosen.
    pub trials: Vec<Trial>,
    /// Reason for the choice.
    pub reason: String,
    /// Flags of `bissl align` for these settings.
    pub flags: String,
}

/// Whether the solver stops by a tolerance.
fn stops(align: &AlignSettings) -> bool {
    align.solver().is_ok_and(|solver| solver.facts().stops_by_tolerance)
}

/// Considers settings one after the other.
struct Search<'a> {
    align: &'a AlignSettings,
    /// Seconds available for the stage.
    limit_s: f64,
    trials: Vec<Trial>,
}

impl Search<'_> {
    /// Whether the stage fits with these settings and this number of alternations.
    fn fits(&mut self, align: &AlignSettings, alternations: u32, alternation_s: f64) -> bool {
        let stage_s = f64::from(alternations) * alternation_s;
        let fits = stage_s <= self.limit_s;
        self.trials.push(Trial {
            solver: align.solver.to_string(),
            correction_tolerance: stops(align).then_some(align.correction_tolerance),
            alternations,
            alternation_s,
            stage_s,
            fits,
        });
        fits
    }

    fn chosen(self, align: &AlignSettings, alternations: u32, reason: String) -> BudgetChoice {
        let mut flags = format!("--solver {} --alternations {alternations}", align.solver);
        if stops(align) {
            flags += &format!(" --correction-tolerance {}", align.correction_tolerance);
        }
        // A schedule's warm-up may not be longer than the stage.
        for (key, level, steps) in [
            ("align.lower.warm_up_steps", &align.lower, align.lower_steps),
            ("align.upper.warm_up_steps", &align.upper, align.upper_steps),
        ] {
            let steps = u64::from(steps) * u64::from(alternations);
            if u64::from(level.warm_up_steps) > steps {
                // Keep the warm-up's share of the stage.
                let all = u64::from(self.align.alternations) * (steps / u64::from(alternations));
                let scaled = u64::from(level.warm_up_steps) * steps / all.max(1);
                flags += &format!(" --set {key}={scaled}");
            }
        }
        BudgetChoice { budget_s: 0.0, warm_up_s: 0.0, trials: self.trials, reason, flags }
    }
}

/// What choosing needs to know about the costs.
pub(super) struct Costs<'a> {
    /// Measures the seconds of an alternation with these settings.
    pub(super) price: &'a mut dyn FnMut(&AlignSettings) -> Result<f64>,
    /// Whether M-FAC's vectors fit into memory.
    pub(super) mfac_fits: bool,
}

/// Tries, in this order: the settings as they are; a looser tolerance with the same solver; a
/// solver without products; fewer alternations. Takes the first that fits.
///
/// The cheaper solver is `identity`, the limit of a large damping. If the damping is at most the
/// proximity and its vectors fit into memory, it is `mfac`, which solves at λ itself, whatever δ
/// is.
///
/// # Errors
/// A measurement fails, or not even one alternation with the cheapest settings fits.
pub(super) fn choose(
    align: &AlignSettings,
    budget_s: f64,
    warm_up_s: f64,
    costs: &mut Costs<'_>,
) -> Result<BudgetChoice> {
    let limit_s = (budget_s - warm_up_s).max(0.0);
    let mut search = Search { align, limit_s, trials: Vec::new() };
    let all = align.alternations;
    let done = |choice: BudgetChoice| Ok(BudgetChoice { budget_s, warm_up_s, ..choice });
    let price_s = (costs.price)(align)?;
    if search.fits(align, all, price_s) {
        return done(search.chosen(align, all, "the settings fit as they are".to_owned()));
    }
    // If even free solves would take too long, there is no need to measure tolerances.
    let plain = AlignSettings { solver: SolverName::Identity, ..align.clone() };
    let least_s = f64::from(all) * (costs.price)(&plain)?;
    if stops(align) && least_s <= limit_s {
        for share in SHARES.into_iter().filter(|share| *share > align.correction_tolerance) {
            let looser = AlignSettings { correction_tolerance: share, ..align.clone() };
            let price_s = (costs.price)(&looser)?;
            if search.fits(&looser, all, price_s) {
                let reason = format!(
                    "the solver is kept; its solves may miss {share} of the correction in the \
                     place of {}",
                    align.correction_tolerance
                );
                return done(search.chosen(&looser, all, reason));
            }
        }
    }
    let mut cheapest = align.clone();
    let mut price_s = price_s;
    let replaces = |solver| match solver {
        SolverName::Mfac => costs.mfac_fits && align.damping <= align.proximity,
        _ => true,
    };
    let solvers = [SolverName::Mfac, SolverName::Identity];
    let mut why = format!("{} has no cheaper solver", align.solver);
    for solver in solvers.into_iter().filter(|solver| replaces(*solver)) {
        if align.solver == solver || align.solver == SolverName::Identity {
            continue;
        }
        cheapest = AlignSettings { solver, ..align.clone() };
        price_s = (costs.price)(&cheapest)?;
        why =
            format!("no tolerance of {} is cheap enough; {solver} needs no products", align.solver);
        if search.fits(&cheapest, all, price_s) {
            return done(search.chosen(&cheapest, all, why));
        }
    }
    let alternations = (limit_s / price_s).floor();
    if alternations < 1.0 {
        fail!(
            "--budget: {budget_s:.0} s, of which the head's warm-up takes about {warm_up_s:.1} s; \
             expected at least {:.1} s, one alternation of {}",
            warm_up_s + price_s,
            cheapest.solver
        );
    }
    let alternations = (alternations as u32).min(all);
    search.fits(&cheapest, alternations, price_s);
    let reason = format!("{why}; {alternations} of {all} alternations fit");
    done(search.chosen(&cheapest, alternations, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn durations_are_read_and_others_refused() {
        for (text, seconds) in
            [("45s", 45.0), ("90m", 5400.0), ("2h", 7200.0), ("1h30m", 5400.0), ("1.5d", 129_600.0)]
        {
            assert_eq!(duration(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "2", "h", "2w", "-1h", "2 h", "1..5h", "0s", "nanh", "1e400d", "2µ"] {
            let error = duration(text).unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("90m"), "{error}");
        }
    }

    /// 100 alternations of 10 s each, or less with looser solves.
    fn choice(budget_s: f64, change: impl Fn(&mut AlignSettings)) -> Result<BudgetChoice> {
        let mut align = Preset::Default.config().align;
        align.alternations = 100;
        change(&mut align);
        let mut price = |align: &AlignSettings| {
            Ok(match align.solver {
                SolverName::Identity => 4.0,
                SolverName::Mfac => 5.0,
                _ => 10.0 - 10.0 * f64::from(align.correction_tolerance - 0.1),
            })
        };
        choose(&align, budget_s, 20.0, &mut Costs { price: &mut price, mfac_fits: true })
    }

    #[test]
    fn tolerance_goes_before_the_solver_and_the_solver_before_alternations() {
        let with_preset = |budget_s| choice(budget_s, |_| {}).unwrap();
        let kept = with_preset(1020.0);
        assert!(kept.flags.starts_with("--solver recycled-cg --alternations 100"), "{kept:?}");
        assert_eq!((kept.trials.len(), kept.trials[0].fits), (1, true));
        let looser = with_preset(860.0);
        assert!(looser.flags.contains("--correction-tolerance 0.3"), "{looser:?}");
        assert!(looser.trials.last().unwrap().fits && !looser.trials[1].fits, "{looser:?}");
        let cheaper = with_preset(430.0);
        assert!(cheaper.flags.starts_with("--solver identity --alternations 100"), "{cheaper:?}");
        let shorter = with_preset(220.0);
        assert!(shorter.flags.starts_with("--solver identity --alternations 50"), "{shorter:?}");
        assert!(shorter.reason.contains("50 of 100"), "{shorter:?}");
    }

    #[test]
    fn without_damping_mfac_is_tried_before_the_identity() {
        let undamped = |budget_s| choice(budget_s, |align| align.damping = 0.0).unwrap();
        assert!(undamped(530.0).flags.starts_with("--solver mfac"));
        assert!(undamped(430.0).flags.starts_with("--solver identity"));
        let identity = choice(300.0, |align| align.solver = SolverName::Identity).unwrap();
        assert_eq!(identity.trials.len(), 2, "{identity:?}");
    }

    #[test]
    fn schedules_are_shortened_with_the_stage() {
        let short = choice(60.0, |align| align.lower.warm_up_steps = 1000).unwrap();
        // 10 of 100 alternations of 20 steps: a warm-up of half the stage.
        assert!(short.flags.contains("--set align.lower.warm_up_steps=100"), "{short:?}");
    }

    #[test]
    fn a_budget_below_one_alternation_is_refused_with_what_it_would_take() {
        let error = choice(23.0, |_| {}).unwrap_err().to_string();
        assert!(error.contains("--budget: 23 s") && error.contains("24.0 s"), "{error}");
    }
}
