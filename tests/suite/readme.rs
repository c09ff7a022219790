//! What the README says is so. Its configurations are applied in `terraform.rs`; `make test` is what runs this.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::engines::output;
use crate::helper::{PROGRAM, code_blocks, failure, helper_for, run, text};
use crate::protocol::DOCUMENTED_KEYS;
use crate::sample_api::{self, SampleApi};

/// The blocks of one language, without what indents them.
fn blocks(language: &str) -> Vec<String> {
    let blocks = code_blocks("README.md", language).into_iter();
    blocks.map(|block| block.lines().map(|line| format!("{}\n", line.trim())).collect()).collect()
}

/// The first cells of the table under a heading, as far as they are code.
fn codes_in_table(heading: &str) -> Vec<String> {
    let readme = text("README.md");
    let section = readme.split(&format!("\n## {heading}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
    let cells = section.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn each_line_in_a_shell_gives_what_it_shows() {
    let api = SampleApi::start();
    let mut lines = 0;
    for block in blocks("console") {
        for (line, shown) in block.split("$ ").skip(1).filter_map(|line| line.split_once('\n')) {
            let mut words = line.split(' ');
            assert_eq!(words.next(), Some("openai-fine-tuning-job"));
            let said = run(helper_for(&api).args(words));
            let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
            match shown.trim_end().strip_suffix('…') {
                Some(start) => assert!(said.starts_with(start), "{line}: {said}"),
                None => assert_eq!(said, shown, "{line}"),
            }
            lines += 1;
        }
    }
    assert_eq!(lines, 3);
}

#[test]
fn the_output_it_shows_is_that_of_the_job() {
    let model = sample_api::job("ftjob-abc123")["fine_tuned_model"].to_string();
    assert_eq!(blocks("text"), [format!("fine_tuned_model = {model}\n")]);
}

#[test]
fn cargo_installs_the_program_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let commands = blocks("sh").concat();
    let command = commands.lines().find(|line| line.starts_with("cargo ")).unwrap();
    let mut install = Command::new(env!("CARGO"));
    install.args(command.split(' ').skip(1)).current_dir(env!("CARGO_MANIFEST_DIR"));
    // Not in the user's own folder, and quicker.
    install.args(["--debug", "--locked", "--root"]).arg(root.path());
    install.args(["--target-dir", concat!(env!("CARGO_TARGET_TMPDIR"), "/install")]);
    output(&mut install).unwrap();
    let installed = fs::read_dir(root.path().join("bin")).unwrap().map(|file| file.unwrap().file_name());
    assert_eq!(installed.collect::<Vec<_>>(), [Path::new(PROGRAM).file_name().unwrap()]);
}

#[test]
fn the_other_commands_are_targets_of_make() {
    let makefile = text("Makefile");
    let commands = blocks("sh").concat();
    let targets: Vec<_> = commands.lines().filter_map(|line| line.strip_prefix("make ")).collect();
    assert_eq!(targets, ["demo", "test"]);
    for target in targets {
        assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "make {target}");
    }
}

#[test]
fn every_key_has_its_row() {
    let (queries, results) = (codes_in_table("Query"), codes_in_table("Result"));
    let api = SampleApi::start();
    let known = failure(2, helper_for(&api).arg("unknown=key"));
    let known: Vec<_> = known.split('`').skip(3).step_by(2).collect();
    assert_eq!(known.len(), 17, "{known:?}");
    for key in known {
        assert!(queries.iter().any(|row| row == key), "{key} is not in the table of queries");
    }
    for key in DOCUMENTED_KEYS.split_whitespace() {
        let fits = |row: &String| row.strip_suffix('*').map_or(row == key, |start| key.starts_with(start));
        assert!(results.iter().any(fits), "{key} is not in the table of results");
    }
}

#[test]
fn every_message_in_the_table_is_one() {
    let sources = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let text: String = sources.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    // As the compiler joins them.
    let text = text.split("\\\n").map(str::trim_start).collect::<String>();
    for phrase in codes_in_table("When it fails") {
        let start = phrase.trim_end_matches(|c: char| c.is_ascii_digit() || c == '…');
        assert!(text.contains(start), "no message says {phrase:?}");
    }
}
