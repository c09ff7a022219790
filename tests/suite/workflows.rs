//! The workflows under `.github/`, read by the two programs that know the mistakes in such files: nothing here can run
//! them. Each program is built or installed once, at one version, under `target/workflows/`.

use std::env::consts::EXE_SUFFIX;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use crate::engines::{build, output, target_folder};

const ACTIONLINT_MODULE: &str = "github.com/rhysd/actionlint@v1.7.12";
const ZIZMOR: &str = "zizmor==1.32.0";

const GITHUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.github");

/// A folder for a program of this version, and the lock on it: whoever else sets it up waits.
fn folder(version: &str) -> (PathBuf, File) {
    let folder = target_folder().unwrap().join("workflows").join(version.rsplit('/').next().unwrap());
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    (folder, lock)
}

#[test]
fn actionlint_finds_nothing() {
    let (folder, _lock) = folder(ACTIONLINT_MODULE);
    let program = folder.join(format!("actionlint{EXE_SUFFIX}"));
    let program = build(ACTIONLINT_MODULE, "./cmd/actionlint", &program).unwrap();
    let workflows = fs::read_dir(format!("{GITHUB}/workflows")).unwrap().map(|file| file.unwrap().path());
    // It runs other programs where it finds them, which would make its verdict depend on the machine.
    let mut actionlint = Command::new(program);
    output(actionlint.args(["-shellcheck=", "-pyflakes="]).args(workflows)).unwrap_or_else(|said| panic!("{said:#}"));
}

#[test]
fn zizmor_finds_nothing() {
    let (folder, _lock) = folder(ZIZMOR);
    let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let program = programs.join(format!("zizmor{EXE_SUFFIX}"));
    if !program.exists() {
        output(Command::new("python3").args(["-m", "venv"]).arg(&folder)).unwrap_or_else(|said| {
            panic!("a virtual environment is needed (on Debian and Ubuntu, install python3-venv): {said:#}")
        });
        let mut pip = Command::new(programs.join(format!("python{EXE_SUFFIX}")));
        output(pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--only-binary=:all:", ZIZMOR]))
            .unwrap();
    }
    let mut zizmor = Command::new(program);
    zizmor.args(["--offline", "--persona=pedantic", "--strict-collection", "--no-config", "--quiet", GITHUB]);
    output(&mut zizmor).unwrap_or_else(|said| panic!("{said:#}"));
}
