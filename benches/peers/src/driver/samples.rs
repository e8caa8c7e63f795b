//! Every figure of every round, and what is made of them: medians, and ratios between engines.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::crew::Figures;
use crate::engines::Profile;
use crate::work::Plan;

/// The work, the figure's name, the engine.
type Name = (&'static str, String, &'static str);

/// All figures.
#[derive(Default)]
pub(super) struct Samples {
    /// By round, so that the figures of two engines can be paired.
    figures: BTreeMap<Name, BTreeMap<usize, f64>>,
    failures: Vec<String>,
}

impl Samples {
    /// Adds what an engine told in a round.
    pub(super) fn add(&mut self, plan: &Plan, engine: &Profile, round: usize, figures: &Figures) {
        for (name, figure) in figures {
            let key = (plan.name, name.clone(), engine.name);
            self.figures.entry(key).or_default().insert(round, *figure);
        }
    }

    /// Adds how many times faster each engine was in one work than in another.
    pub(super) fn add_slowdown(
        &mut self,
        work: &'static str,
        name: &str,
        [fast, slow]: [(&'static str, &str); 2],
    ) {
        let engines: Vec<&'static str> = self.figures.keys().map(|(_, _, engine)| *engine).collect();
        for engine in engines {
            let of = |(work, figure)| self.rounds(work, figure, engine);
            let (Some(fast), Some(slow)) = (of(fast), of(slow)) else { continue };
            let ratios =
                fast.iter().filter_map(|(round, figure)| Some((*round, figure / slow.get(round)?))).collect();
            self.figures.insert((work, name.to_owned(), engine), ratios);
        }
    }

    /// Notes that an engine could not do its work.
    pub(super) fn fail(&mut self, plan: &Plan, engine: &Profile, error: &str) {
        let failure = format!("{} {}: {error}", engine.name, plan.name);
        if !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    /// What went wrong.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    fn rounds(
        &self,
        work: &'static str,
        figure: &str,
        engine: &'static str,
    ) -> Option<&BTreeMap<usize, f64>> {
        self.figures.get(&(work, figure.to_owned(), engine))
    }

    /// The median of an engine's figure.
    pub(super) fn median(&self, work: &'static str, figure: &str, engine: &'static str) -> Option<f64> {
        median(self.rounds(work, figure, engine)?.values().copied().collect())
    }

    /// The median of the ratios of two engines' figures in the same rounds.
    pub(super) fn ratio(
        &self,
        work: &'static str,
        figure: &str,
        [above, below]: [&'static str; 2],
    ) -> Option<f64> {
        let (above, below) = (self.rounds(work, figure, above)?, self.rounds(work, figure, below)?);
        median(above.iter().filter_map(|(round, figure)| Some(figure / below.get(round)?)).collect())
    }

    /// All of it for other programs.
    pub(super) fn to_json(&self) -> Value {
        let samples = self.figures.iter().map(|((work, figure, engine), rounds)| {
            let figures: Vec<f64> = rounds.values().copied().collect();
            json!({
                "work": work, "figure": figure, "engine": engine,
                "median": median(figures.clone()), "rounds": figures,
            })
        });
        json!({ "samples": samples.collect::<Vec<_>>(), "failures": self.failures })
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    Some(if figures.len().is_multiple_of(2) { f64::midpoint(figures[middle - 1], upper) } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
