//! A figure beside its goal.

use serde::Serialize;

/// Something that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// What came out.
    pub measured: f64,
    /// In what unit.
    pub unit: &'static str,
    /// What it should be at most, if something was promised.
    pub goal: Option<f64>,
    /// `measured / goal`
    pub ratio: Option<f64>,
    /// How it was measured, and how much it varied.
    pub detail: String,
}

impl Figure {
    /// A figure that was promised to be at most `goal`.
    pub fn promised(name: &str, measured: f64, unit: &'static str, goal: f64, detail: String) -> Self {
        Self { name: name.to_owned(), measured, unit, goal: Some(goal), ratio: Some(measured / goal), detail }
    }

    /// A figure that is stated beside others.
    pub fn stated(name: &str, measured: f64, unit: &'static str, detail: String) -> Self {
        Self { name: name.to_owned(), measured, unit, goal: None, ratio: None, detail }
    }
}

/// Prints a table for people.
pub fn print(figures: &[Figure]) {
    let width = figures.iter().map(|figure| figure.name.len()).max().unwrap_or_default();
    println!("{:width$}  {:>9}  {:>7}  {:5}  {:>5}", "FIGURE", "MEASURED", "GOAL", "UNIT", "RATIO");
    for Figure { name, measured, unit, goal, ratio, detail } in figures {
        let [goal, ratio] = [goal, ratio].map(|number| number.map_or("-".to_owned(), |number| format!("{number:.2}")));
        println!("{name:width$}  {measured:>9.3}  {goal:>7}  {unit:5}  {ratio:>5}  {detail}");
    }
}

/// The middle value, the mean of the two middle ones if their number is even.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        _ if sorted.is_empty() => f64::NAN,
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// "median of 10, 0.512 to 0.634".
pub fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("median of {}, {least:.3} to {most:.3}", values.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_numbers() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
