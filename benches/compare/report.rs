//! The tables and the charts in `benches/`.

use std::{fs, iter};

use anyhow::{Context, Result};

use crate::BASELINE;
use crate::measure::Measured;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches");

/// Writes what one job takes, and for each number of jobs what many take and their plans.
pub fn write(one: &[Measured], many: &[Vec<Measured>], plans: &[Vec<Measured>], conditions: &str) -> Result<()> {
    let one: Vec<_> = one.iter().filter(|it| it.name != BASELINE).collect();
    let rows = one.iter().map(|Measured { name, near, far }| {
        let relative = number(near.time / one[0].near.time, "×");
        vec![name.to_string(), ms(near.time), relative, ms(near.cpu), number(near.peak, "MB"), ms(far.time)]
    });
    let mut tables = table(&["one job", "time", "relative", "CPU time", "peak memory", "50 ms away"], rows);
    for (columns, head) in
        [(many, &["1 job", "10 jobs", "100 jobs", "1,000 jobs"][..]), (plans, &["1 job", "100 jobs"])]
    {
        let table = |title, cell: fn(&Measured) -> String| {
            let row = |row: usize| {
                iter::once(columns[0][row].name.into()).chain(columns.iter().map(move |it| cell(&it[row])))
            };
            let rows = (0..columns[0].len()).filter(|&row| columns[0][row].name != BASELINE);
            table(&[&[title], head].concat(), rows.map(|it| row(it).collect()))
        };
        tables += &table("time / 50 ms away", |it| format!("{} / {}", ms(it.near.time), ms(it.far.time)));
        tables += &table("requests, connections, handshakes", |it| it.far.counts.map(|it| it.to_string()).join(", "));
    }

    let readme = format!("{FOLDER}/README.md");
    let text = fs::read_to_string(&readme)?;
    let (before, rest) = text.split_once("<!-- bench -->\n").context("there is no place for the tables")?;
    let (_, after) = rest.split_once("<!-- /bench -->").context("the tables do not end")?;
    fs::write(readme, format!("{before}<!-- bench -->\n{tables}{conditions}\n<!-- /bench -->{after}"))?;

    let bars: Vec<_> = one.iter().map(|it| (it.name, it.near.time)).collect();
    fs::write(format!("{FOLDER}/performance.svg"), chart("Reading one job over TLS on loopback", &bars, 1))?;
    let bars: Vec<_> = plans[1].iter().map(|it| (it.name, it.far.time)).collect();
    fs::write(format!("{FOLDER}/plans.svg"), chart("Planning with 100 jobs, 50 ms away", &bars, 4))?;
    Ok(())
}

/// All columns but the first are numbers.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: String = rows.map(|cells| format!("| {} |\n", cells.join(" | "))).collect();
    format!("| {} |\n| ---{} |\n{rows}\n", head.join(" | "), " | ---:".repeat(head.len() - 1))
}

/// Horizontal bars, the first few in colour, on a background of their own: the page around them may be light or dark.
fn chart(title: &str, bars: &[(&str, f64)], ours: usize) -> String {
    let longest = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let height = 40 + 28 * bars.len();
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}" role="img" aria-label="{title}">
<style>
text {{ font: 14px system-ui, sans-serif; fill: #1f2328 }}
.title, .ours text {{ font-weight: 600 }}
.theirs rect {{ fill: #8b949e }}
.ours rect {{ fill: #2f81f7 }}
</style>
<rect width="100%" height="100%" rx="6" fill="#f6f8fa"/>
<text class="title" x="8" y="22">{title}</text>
"##
    );
    for (row, (name, value)) in bars.iter().enumerate() {
        let class = if row < ours { "ours" } else { "theirs" };
        let (top, name, width) = (38 + 28 * row, name.replace('`', ""), (value / longest * 400.0).max(1.0));
        svg += &format!(
            "<g class=\"{class}\" transform=\"translate(220 {top})\"><text x=\"-10\" y=\"15\" text-anchor=\"end\">{name}\
             </text><rect width=\"{width:.1}\" height=\"20\" rx=\"2\"/><text x=\"{:.1}\" y=\"15\">{}</text></g>\n",
            width + 8.0,
            ms(*value),
        );
    }
    svg + "</svg>\n"
}

fn ms(value: f64) -> String {
    number(value, "ms")
}

fn number(value: f64, unit: &str) -> String {
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}
