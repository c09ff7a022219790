//! The repository's Markdown files.

use super::program::text;

/// The blocks of one language in a Markdown file, in their order.
pub fn code_blocks(file: &str, language: &str) -> Vec<String> {
    let (text, fence) = (text(file), format!("```{language}\n"));
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(ToOwned::to_owned).collect()
}

/// The first cells of the tables in a section, as far as they are code.
pub fn codes_in_tables(file: &str, heading: &str) -> Vec<String> {
    let text = text(file);
    let section = text.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no {heading} in {file}"));
    let section = section.split("\n##").next().unwrap();
    let cells = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
}
