//! The repository's Markdown files.

use std::fs;
use std::path::Path;

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::program::text;

/// All of them, by their paths within the repository.
pub fn files() -> Vec<String> {
    fn collect(folder: &str, files: &mut Vec<String>) {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if entry.file_type().unwrap().is_dir() && !name.starts_with('.') && name != "target" {
                collect(&path, files);
            } else if name.ends_with(".md") {
                files.push(path);
            }
        }
    }

    let mut files = Vec::new();
    collect("", &mut files);
    files.sort();
    files
}

/// The addresses of the links and pictures in Markdown text.
pub fn links(markdown: &str) -> Vec<String> {
    let address = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.into_string()),
        _ => None,
    };
    Parser::new(markdown).filter_map(address).collect()
}

/// The anchors that GitHub and GitLab give to the headings in Markdown text.
pub fn anchors(markdown: &str) -> Vec<String> {
    let (mut anchors, mut heading) = (Vec::new(), None);
    for event in Parser::new(markdown) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::Text(text) | Event::Code(text), Some(heading)) => *heading += &text,
            (Event::End(TagEnd::Heading(_)), Some(text)) => {
                let kept = text.to_lowercase().replace(' ', "-");
                anchors.push(kept.chars().filter(|&c| c.is_alphanumeric() || c == '-' || c == '_').collect());
                heading = None;
            }
            _ => {}
        }
    }
    anchors
}

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
