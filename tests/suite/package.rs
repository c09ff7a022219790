//! What `cargo install` and `cargo publish` hand out.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::engines::output;

#[test]
fn the_package_holds_the_program_and_nothing_else() {
    let repository = env!("CARGO_MANIFEST_DIR");
    let mut list = Command::new(env!("CARGO"));
    list.args(["package", "--list", "--allow-dirty", "--quiet", "--locked"]).current_dir(repository);
    let listed = String::from_utf8(output(&mut list).unwrap().stdout).unwrap().replace('\\', "/");
    // Cargo's note of the commit is there only in a Git repository.
    let listed: BTreeSet<&str> = listed.lines().filter(|&file| file != ".cargo_vcs_info.json").collect();

    let sources = fs::read_dir(format!("{repository}/src")).unwrap();
    let sources: Vec<_> = sources.map(|file| format!("src/{}", file.unwrap().file_name().display())).collect();
    let mut expected: BTreeSet<&str> = sources.iter().map(String::as_str).collect();
    expected.extend(["Cargo.lock", "Cargo.toml", "Cargo.toml.orig", "LICENSE-APACHE", "LICENSE-MIT", "README.md"]);
    assert_eq!(listed, expected);
}
