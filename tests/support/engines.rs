//! The real parts that the end-to-end tests and the demo run: Terraform, OpenTofu, and the provider hashicorp/external.
//! What is not on this machine is fetched or built once, under `target/terraform/`. What cannot be had is an error
//! that says what to install: a test that ran without the real thing would prove nothing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fmt};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The oldest provider that the project supports, and the only one whose Go module can be had by its version.
const PROVIDER: &str = "1.2.0";
pub const PROVIDER_MODULE: &str = "github.com/terraform-providers/terraform-provider-external@v1.2.0";
const TOFU_MODULE: &str = "github.com/opentofu/opentofu@v1.12.6";
/// How often a build says how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Terraform or OpenTofu, with one version of the provider.
pub struct Engine {
    program: PathBuf,
    pub cli_config: PathBuf,
    versions: String,
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.versions)
    }
}

impl Engine {
    /// A command in this folder, with the engine's own configuration in place of whatever the machine has.
    pub fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TF_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(folder)
            .env("TF_CLI_CONFIG_FILE", &self.cli_config)
            .env("TF_IN_AUTOMATION", "1")
            .env("CHECKPOINT_DISABLE", "1");
        command
    }
}

/// The engines that `ENGINES` names (`ENGINES="terraform tofu"`), else those on the PATH, else OpenTofu; each once with
/// every version of the provider that can be had.
///
/// # Errors
/// A part that can be neither found, fetched nor built.
pub fn set_up() -> Result<Vec<Engine>> {
    engines(&names()?)
}

/// The first of those engines, for what needs only one.
///
/// # Errors
/// As for all of them.
pub fn first() -> Result<Engine> {
    engines(&names()?[..1])?.into_iter().next().context("there is no provider")
}

/// Whether the first of those engines is neither on the PATH nor built yet.
pub fn has_to_be_built() -> Result<bool> {
    Ok(!is_on_path(&names()?[0]) && !built_tofu(&target_folder()?.join("terraform")).exists())
}

fn engines(names: &[String]) -> Result<Vec<Engine>> {
    let folder = target_folder()?.join("terraform");
    fs::create_dir_all(&folder)?;
    // Held until the end: whoever else sets up the same parts waits for them.
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;

    let mut engines = Vec::new();
    for name in names {
        let program = program(name, &folder)?;
        for (provider, mirror) in providers(name, &program, &folder)? {
            let cli_config = folder.join(format!("{name}-{provider}.tfrc"));
            // Nothing but this one folder: no version is taken from anywhere else.
            let text = format!("provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n}}\n");
            write(&cli_config, &text)?;
            let mut engine = Engine { program: program.clone(), cli_config, versions: String::new() };
            let version = String::from_utf8(output(engine.command(&folder).arg("version"))?.stdout)?;
            let version = version.lines().next().unwrap_or_default();
            engine.versions = format!("{version} with hashicorp/external {provider}");
            say(&engine.versions);
            engines.push(engine);
        }
    }
    Ok(engines)
}

/// The PATH with this program's folder in front.
///
/// # Errors
/// A folder whose name cannot stand there.
pub fn path_with(program: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(Path::to_owned).into_iter().chain(env::split_paths(&path));
    Ok(env::join_paths(folders)?)
}

/// `target`, where cargo put this program as `target/PROFILE/KIND/PROGRAM`.
pub fn target_folder() -> Result<PathBuf> {
    let program = env::current_exe()?;
    Ok(program.ancestors().nth(3).context("this program is not where cargo puts it")?.to_owned())
}

fn names() -> Result<Vec<String>> {
    const KNOWN: [&str; 2] = ["terraform", "tofu"];

    let asked = env::var("ENGINES").unwrap_or_default();
    let mut names: Vec<_> = asked.split_whitespace().collect();
    if let Some(unknown) = names.iter().find(|name| !KNOWN.contains(name)) {
        bail!("ENGINES names {unknown:?}; it can name terraform, tofu, or both");
    }
    if names.is_empty() {
        names = KNOWN.into_iter().filter(|name| is_on_path(name)).collect();
    }
    if names.is_empty() {
        names = vec!["tofu"];
    }
    Ok(names.into_iter().map(ToOwned::to_owned).collect())
}

fn is_on_path(program: &str) -> bool {
    Command::new(program).arg("version").env("CHECKPOINT_DISABLE", "1").output().is_ok()
}

fn program(name: &str, folder: &Path) -> Result<PathBuf> {
    if is_on_path(name) {
        return Ok(name.into());
    }
    // Terraform's Go module lacks the parts of its repository that are modules of their own.
    ensure!(
        name == "tofu",
        "{name} is not on the PATH, and it cannot be built from its Go module: \
         install it, see https://developer.hashicorp.com/terraform/install"
    );
    build(TOFU_MODULE, "./cmd/tofu", "5 to 15 minutes, once", &built_tofu(folder))
}

fn built_tofu(folder: &Path) -> PathBuf {
    let version = TOFU_MODULE.rsplit('@').next().unwrap_or_default();
    folder.join(format!("tofu_{version}{}", env::consts::EXE_SUFFIX))
}

/// The versions of the provider, each with the folder that mirrors its registry.
fn providers(engine: &str, program: &Path, folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let fetched = folder.join(format!("{engine}-registry"));
    if !fetched.exists() && !fetch(program, &fetched)? {
        say(&format!("{engine} reaches no registry: it gets the provider that Go builds"));
        return Ok(vec![(PROVIDER.into(), build_mirror(&folder.join("built"))?)]);
    }
    let mut providers = Vec::new();
    for entry in fs::read_dir(fetched)? {
        let mirror = entry?.path().join(".terraform/providers");
        let host = only_entry(&mirror)?;
        let version = only_entry(&host.join("hashicorp/external"))?;
        providers.push((version.file_name().unwrap_or_default().to_string_lossy().into_owned(), mirror));
    }
    Ok(providers)
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(folder)?.next().with_context(|| format!("{} is empty", folder.display()))?;
    Ok(entry?.path())
}

/// Has the engine itself fetch the oldest and the newest provider, in the machine's own environment, whose proxies and
/// mirrors it may need. What `init` leaves in `.terraform/providers` has the layout of a mirror.
fn fetch(program: &Path, fetched: &Path) -> Result<bool> {
    let unfinished = fetched.with_extension("part");
    for (name, versions) in [("oldest", PROVIDER), ("newest", ">= 1.2.0")] {
        let folder = unfinished.join(name);
        fs::create_dir_all(&folder)?;
        let provider = format!("{{ source = \"hashicorp/external\", version = \"{versions}\" }}");
        write(
            &folder.join("main.tf"),
            &format!("terraform {{\n  required_providers {{\n    external = {provider}\n  }}\n}}\n"),
        )?;
        let mut init = Command::new(program);
        init.args(["init", "-input=false"]).current_dir(folder).env("CHECKPOINT_DISABLE", "1");
        // No answer within seconds is an answer too.
        init.env("TF_REGISTRY_DISCOVERY_RETRY", "0").env("TF_REGISTRY_CLIENT_TIMEOUT", "10");
        if !init.output()?.status.success() {
            return Ok(false);
        }
    }
    fs::rename(unfinished, fetched)?;
    Ok(true)
}

fn build_mirror(mirror: &Path) -> Result<PathBuf> {
    let program = format!("terraform-provider-external_v{PROVIDER}{}", env::consts::EXE_SUFFIX);
    let built = build(PROVIDER_MODULE, ".", "about a minute, once", &mirror.with_file_name(&program))?;
    add_to_mirror(mirror, "external", PROVIDER, &built)?;
    Ok(mirror.to_owned())
}

/// Puts a provider where the engines look for it in this folder.
pub fn add_to_mirror(mirror: &Path, provider: &str, version: &str, built: &Path) -> Result<()> {
    let platform = String::from_utf8(output(Command::new("go").args(["env", "GOOS", "GOARCH"]))?.stdout)?;
    let platform = platform.split_whitespace().collect::<Vec<_>>().join("_");
    for registry in ["registry.terraform.io", "registry.opentofu.org"] {
        let folder = mirror.join(registry).join("hashicorp").join(provider).join(version).join(&platform);
        fs::create_dir_all(&folder)?;
        let program = folder.join(built.file_name().unwrap_or_default());
        if !program.exists() {
            fs::hard_link(built, program)?;
        }
    }
    Ok(())
}

/// Builds a program from a Go module, unless that was done before.
pub fn build(module: &str, package: &str, takes: &str, program: &Path) -> Result<PathBuf> {
    if !program.exists() {
        say(&format!("downloading {module} and building it with Go ({takes})"));
        // From within the module, so that the `replace` lines of its own go.mod hold.
        go_build(&download(module)?, package, program)?;
    }
    Ok(program.to_owned())
}

/// The folder with a Go module's files.
pub fn download(module: &str) -> Result<PathBuf> {
    let downloaded = output(Command::new("go").args(["mod", "download", "-json", module]))?;
    let downloaded: Value = serde_json::from_slice(&downloaded.stdout)?;
    let source = downloaded["Dir"].as_str().with_context(|| format!("go does not say where {module} is"))?;
    Ok(source.into())
}

pub fn go_build(source: &Path, package: &str, program: &Path) -> Result<()> {
    let unfinished = program.with_extension("part");
    let packages = output(Command::new("go").args(["list", "-deps", package]).current_dir(source))?;
    let packages = packages.stdout.lines().count();
    let mut build = Command::new("go");
    build.args(["build", "-v", "-buildvcs=false", "-o"]).arg(&unfinished).arg(package).current_dir(source);
    with_progress(&mut build, packages)?;
    fs::rename(unfinished, program)?;
    Ok(())
}

/// Runs `go build -v`, which names each package that it builds on a line of its own, and says how far it is.
fn with_progress(build: &mut Command, packages: usize) -> Result<()> {
    let mut child = build.stderr(Stdio::piped()).spawn()?;
    let (start, mut last, mut built, mut rest) = (Instant::now(), Instant::now(), 0, String::new());
    for line in BufReader::new(child.stderr.take().context("stderr is piped")?).lines() {
        let line = line?;
        if line.contains(' ') {
            rest += &format!("{line}\n");
            continue;
        }
        built += 1;
        if last.elapsed() >= PROGRESS {
            last = Instant::now();
            say(&format!("  {built} of at most {packages} packages after {} s", start.elapsed().as_secs()));
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{build:?} failed, {status}: {rest}");
    Ok(())
}

pub fn output(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| {
        let program = command.get_program().display();
        format!(
            "{program} does not start: it has to be on the PATH (Go: https://go.dev/dl, Python: https://python.org)"
        )
    })?;
    let (status, said) = (output.status, [&*output.stdout, &*output.stderr].concat());
    ensure!(status.success(), "{command:?} failed, {status}: {}", String::from_utf8_lossy(&said));
    Ok(output)
}

/// Writes the whole file or none, as the engines of another process may be reading it.
fn write(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("part");
    fs::write(&unfinished, text)?;
    fs::rename(unfinished, path)?;
    Ok(())
}

/// Straight to stderr, which the test harness does not capture: a run's log should say what it ran with.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
