//! The README's tables and its charts.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Between these lines of the README all is written by the benchmark.
const BEGIN: &str = "<!-- bench: written by `make bench` -->\n";
const END: &str = "<!-- /bench -->";

pub fn write(tables: &str, charts: &[(&str, String)]) -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = repository.join("README.md");
    let text = fs::read_to_string(&readme)?;
    let (before, rest) = text.split_once(BEGIN).context("the README has no place for the tables")?;
    let (_, after) = rest.split_once(END).context("the README's tables do not end")?;
    fs::write(readme, format!("{before}{BEGIN}{tables}{END}{after}"))?;
    for (name, chart) in charts {
        fs::write(repository.join(format!("benches/{name}.svg")), chart)?;
    }
    Ok(())
}

/// A Markdown table; all columns but the first are numbers.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule: Vec<String> = (0..head.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned()).collect();
    line(&head) + &line(&rule) + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// Horizontal bars in the order given, ours in colour. The text follows the reader's light or dark page.
pub fn chart(title: &str, bars: &[(String, f64, bool)]) -> String {
    const LABELS: usize = 220;
    const WIDTH: f64 = 400.0;
    const ROW: usize = 28;

    let longest = bars.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    let height = 40 + ROW * bars.len();
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}" role="img" aria-label="{title}">
<style>
text {{ font: 14px system-ui, sans-serif; fill: #1f2328 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} }}
.title, .ours {{ font-weight: 600 }}
rect {{ fill: #8b949e }}
rect.ours {{ fill: #2f81f7 }}
</style>
<text class="title" x="8" y="22">{title}</text>
"##
    );
    for (row, (name, value, ours)) in bars.iter().enumerate() {
        let (top, middle) = (38 + ROW * row, 38 + ROW * row + 15);
        let width = (value / longest * WIDTH).max(1.0);
        let end = LABELS as f64 + width + 8.0;
        let class = if *ours { r#" class="ours""# } else { "" };
        let _ = writeln!(
            svg,
            r#"<text{class} x="{}" y="{middle}" text-anchor="end">{name}</text><rect{class} x="{LABELS}" y="{top}" width="{width:.1}" height="20" rx="2"/><text{class} x="{end:.1}" y="{middle}">{}</text>"#,
            LABELS - 10,
            number(*value, "ms"),
        );
    }
    svg + "</svg>\n"
}

/// Two or three digits that mean something.
pub fn number(value: f64, unit: &str) -> String {
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}
