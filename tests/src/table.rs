//! Collects measurements and prints their medians and ratios as a Markdown table.

use std::fmt::Write;

/// Which way a figure is good.
#[derive(Clone, Copy, PartialEq)]
pub enum Better {
    /// Small is good.
    Less,
    /// Big is good.
    More,
}

/// One table: a row a peer, a column a size of the task.
pub struct Table {
    title: String,
    unit: &'static str,
    better: Better,
    base: &'static str,
    columns: Vec<String>,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    quoted: bool,
    cells: Vec<(String, Vec<f64>)>,
}

impl Row {
    fn samples(&self, column: &str) -> Option<&[f64]> {
        self.cells.iter().find(|(name, _)| name == column).map(|(_, samples)| samples.as_slice())
    }
}

impl Table {
    /// Builds an empty table whose ratios are counted against the row `base`; none when it is
    /// empty.
    pub fn new(title: &str, unit: &'static str, better: Better, base: &'static str) -> Table {
        let title = title.to_owned();
        Table { title, unit, better, base, columns: Vec::new(), rows: Vec::new() }
    }

    /// Adds one measurement.
    pub fn add(&mut self, row: &str, column: &str, value: f64) {
        self.cell(row, column, false).push(value);
    }

    /// Adds a published figure from another machine.
    pub fn quote(&mut self, row: &str, column: &str, value: f64) {
        self.cell(row, column, true).push(value);
    }

    fn cell(&mut self, row: &str, column: &str, quoted: bool) -> &mut Vec<f64> {
        if !self.columns.iter().any(|known| known == column) {
            self.columns.push(column.to_owned());
        }
        let at = self.rows.iter().position(|known| known.name == row).unwrap_or_else(|| {
            self.rows.push(Row { name: row.to_owned(), quoted, cells: Vec::new() });
            self.rows.len() - 1
        });
        let cells = &mut self.rows[at].cells;
        let at = cells.iter().position(|(known, _)| known == column).unwrap_or_else(|| {
            cells.push((column.to_owned(), Vec::new()));
            cells.len() - 1
        });
        &mut cells[at].1
    }

    /// Prints it: medians, the range in which they lie, and ratios to the base row.
    pub fn print(&self) {
        print!("{}", self.markdown());
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        let direction = if self.better == Better::Less { "less" } else { "more" };
        let _ = writeln!(text, "### {}\n", self.title);
        let _ = write!(text, "In {}; {direction} is better.\n\n| |", self.unit);
        for column in &self.columns {
            let _ = write!(text, " {column} | min–max |");
            if !self.base.is_empty() {
                let _ = write!(text, " × {} |", self.base);
            }
        }
        let rule = if self.base.is_empty() { "---:|---:|" } else { "---:|---:|---:|" };
        let _ = write!(text, "\n|---|{}", rule.repeat(self.columns.len()));
        text.push('\n');
        let base = self.rows.iter().find(|row| row.name == self.base);
        for row in &self.rows {
            let mark = if row.quoted { " (quoted, other machine)" } else { "" };
            let _ = write!(text, "| {}{mark} |", row.name);
            for column in &self.columns {
                text.push_str(&cell(row, column));
                if !self.base.is_empty() {
                    let base = base.and_then(|base| base.samples(column)).and_then(median);
                    text.push_str(&ratio(row, column, base));
                }
            }
            text.push('\n');
        }
        text.push('\n');
        text
    }
}

fn cell(row: &Row, column: &str) -> String {
    let samples = row.samples(column).unwrap_or_default();
    let Some(middle) = median(samples) else { return " – | – |".to_owned() };
    if row.quoted {
        return format!(" {} | – |", figure(middle));
    }
    let low = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let high = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(" {} | {}–{} |", figure(middle), figure(low), figure(high))
}

fn ratio(row: &Row, column: &str, base: Option<f64>) -> String {
    match (row.samples(column).and_then(median), base) {
        (Some(middle), Some(base)) if !row.quoted => format!(" {:.2} |", middle / base),
        _ => " – |".to_owned(),
    }
}

/// Three digits that count, no more.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Gives the middle value; the mean of the two middle ones for an even number.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[half]),
        _ => Some(f64::midpoint(sorted[half - 1], sorted[half])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_are_in_the_table() {
        let mut table = Table::new("T", "ms", Better::Less, "a");
        for value in [3.0, 1.0, 2.0] {
            table.add("a", "x", value);
            table.add("b", "x", value * 2.0);
        }
        table.quote("c", "x", 9.0);
        let text = table.markdown();
        assert!(text.contains("| a | 2.00 | 1.00–3.00 | 1.00 |"), "{text}");
        assert!(text.contains("| b | 4.00 | 2.00–6.00 | 2.00 |"), "{text}");
        assert!(text.contains("| c (quoted, other machine) | 9.00 | – | – |"), "{text}");
    }

    #[test]
    fn an_even_number_of_samples_has_a_median_between() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
