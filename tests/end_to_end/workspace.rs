//! A folder in which a real engine works, with the sample API.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Map, Value};
use tempfile::TempDir;

use crate::support::engines::{self, Engine};
use crate::support::markdown::code_blocks;
use crate::support::program::{KEY, PROGRAM, assert_no_key, text, without_settings};
use crate::support::sample_api::SampleApi;

pub const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
pub const PLAN: &[&str] = &["plan", "-input=false", "-no-color"];

pub fn engines() -> &'static [Engine] {
    static ENGINES: OnceLock<Result<Vec<Engine>, String>> = OnceLock::new();
    let engines = ENGINES.get_or_init(|| engines::set_up().map_err(|error| format!("{error:#}")));
    engines.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A folder with a configuration, the repository's `terraform/` beside it, and an engine and an API to work with.
pub struct Workspace {
    pub engine: &'static Engine,
    pub api: SampleApi,
    pub folder: PathBuf,
    _temporary: TempDir,
}

impl Workspace {
    /// With this configuration.
    pub fn new(engine: &'static Engine, configuration: &str) -> Self {
        let workspace = Self::empty(engine, "");
        workspace.configure(configuration);
        workspace
    }

    /// With this configuration from now on.
    pub fn configure(&self, configuration: &str) {
        fs::write(self.folder.join("main.tf"), configuration).unwrap();
        self.init();
    }

    /// In a folder of `terraform/`, whose configuration is used as it is.
    pub fn of(engine: &'static Engine, folder: &str) -> Self {
        let workspace = Self::empty(engine, folder);
        workspace.init();
        workspace
    }

    /// In a folder of `terraform/`, not initialized yet.
    pub fn empty(engine: &'static Engine, folder: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        copy(&Path::new(REPOSITORY).join("terraform"), &temporary.path().join("terraform"));
        let folder = temporary.path().join(folder);
        Workspace { engine, api: SampleApi::start(), folder, _temporary: temporary }
    }

    fn init(&self) {
        self.succeed(&["init", "-input=false", "-no-color"]);
    }

    pub fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = without_settings(self.engine.command(&self.folder));
        command.env("PATH", engines::path_with(Path::new(PROGRAM)).unwrap());
        command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", self.api.url()).args(args);
        let mut command = assert_cmd::Command::from_std(command);
        command.timeout(Duration::from_secs(120));
        command
    }

    /// Runs it and checks that the key is nowhere in what it says.
    pub fn run(&self, command: &mut assert_cmd::Command) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = command.output().expect("the engine starts");
        assert_no_key(&stdout);
        assert_no_key(&stderr);
        let text = [stdout, stderr].concat();
        (status.code(), String::from_utf8(text).expect("UTF-8"))
    }

    pub fn succeed(&self, args: &[&str]) -> String {
        let (code, text) = self.run(&mut self.command(args));
        assert_eq!(code, Some(0), "{}: {args:?}: {text}", self.engine);
        text
    }

    pub fn fail(&self, args: &[&str]) -> String {
        let (code, text) = self.run(&mut self.command(args));
        assert_eq!(code, Some(1), "{}: {args:?}: {text}", self.engine);
        text
    }

    /// Applies, checks that another plan has nothing to do, and returns the outputs.
    pub fn apply(&self) -> Map<String, Value> {
        self.succeed(&["apply", "-auto-approve", "-input=false", "-no-color"]);
        self.succeed(&["plan", "-detailed-exitcode", "-input=false", "-no-color"]);
        assert_no_key(&fs::read(self.folder.join("terraform.tfstate")).unwrap());
        let outputs: Map<String, Value> = serde_json::from_str(&self.succeed(&["output", "-json"])).unwrap();
        outputs.into_iter().map(|(name, mut output)| (name, output["value"].take())).collect()
    }
}

/// The data source of the README's quick start.
pub fn data_source() -> String {
    code_blocks("README.md", "hcl").into_iter().find(|block| block.starts_with("data ")).expect("a data source")
}

/// A configuration with the modules of this repository in place of those of a Git server.
pub fn with_local_sources(configuration: &str) -> String {
    let mut parts = configuration.split("git::https://git.example.com/openai-fine-tuning-job.git//");
    let mut local = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (folder, rest) = part.split_once("?ref=v").expect("a tag");
        let (_, rest) = rest.split_once('"').expect("the end of the source");
        local += &format!("./{folder}\"{rest}");
    }
    local
}

/// Copies a folder, without what an engine left there.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let left_by_engine = name.to_string_lossy().starts_with('.') || name.to_string_lossy().contains(".tfstate");
        match entry.file_type().unwrap().is_dir() {
            _ if left_by_engine => {}
            true => copy(&entry.path(), &to.join(name)),
            false => drop(fs::copy(entry.path(), to.join(name)).unwrap()),
        }
    }
}

/// Without blanks and frames, which the engines put where a line gets too long.
pub fn folded(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !"│╷╵".contains(*c)).collect()
}

/// Checks that the engine says this, wherever it breaks the lines.
#[track_caller]
pub fn assert_says(said: &str, words: &str) {
    assert!(folded(said).contains(&folded(words)), "not {words:?} in {said}");
}

/// The blocks of this kind in a file, by name.
pub fn blocks(file: &str, kind: &str) -> Vec<(String, String)> {
    let (text, start) = (format!("\n{}", text(file)), format!("\n{kind} \""));
    let blocks = text.split(&start).skip(1).map(|block| block.split_once("\" {").expect("a block"));
    blocks.map(|(name, body)| (name.to_owned(), body.to_owned())).collect()
}

/// Compares each attribute with the API's own answer, read here without the program's table of fields.
pub fn assert_as_served(job: &Value, api: &Value) {
    for path in paths(job) {
        let value = job.pointer(&path).unwrap();
        let source = match &*path {
            "/error" => "/error/message",
            "/error_code" => "/error/code",
            "/error_param" => "/error/param",
            path => path,
        };
        let decided = |value: &&Value| *value != "auto" && !value.is_null();
        let mut served = api.pointer(source).filter(decided);
        if source.starts_with("/hyperparameters/") && served.is_none() {
            let method = api.pointer("/method/type").and_then(Value::as_str).unwrap_or("supervised");
            served = api.pointer(&format!("/method/{method}{source}")).filter(decided);
        }
        let same = match (value, served) {
            (Value::Null, served) => served.is_none(),
            (Value::Array(items), None) => items.is_empty(),
            (Value::Object(items), None) => items.is_empty(),
            (Value::Number(value), Some(Value::Number(served))) => match (value.as_i64(), served.as_i64()) {
                (Some(value), Some(served)) => value == served,
                _ => value.as_f64() == served.as_f64(),
            },
            // A grader is JSON text.
            (Value::String(text), Some(Value::Object(_))) => serde_json::from_str(text).ok().as_ref() == served,
            (value, served) => Some(value) == served,
        };
        assert!(same, "{}: {path} is {value}, the API served {served:?}", api["id"]);
    }
}

/// JSON pointers to all that is not an object or array with something in it.
pub fn paths(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(object) if !object.is_empty() => object.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(array) if !array.is_empty() => array.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => return vec![String::new()],
    };
    let inner = inner.into_iter();
    inner.flat_map(|(key, value)| paths(value).into_iter().map(move |path| format!("/{key}{path}"))).collect()
}
