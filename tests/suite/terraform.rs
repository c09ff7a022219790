//! End to end: the README's configuration, the module and its examples, in real engines with the real provider. Each
//! test runs on every engine that was set up.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::engines::{self, Engine};
use crate::helper::{
    KEY, PROGRAM, assert_no_key, code_blocks, failure, helper, helper_for, result, text, without_settings,
};
use crate::sample_api::{self, Fault, SampleApi, answering, response};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");
const PLAN: &[&str] = &["plan", "-input=false", "-no-color"];

fn engines() -> &'static [Engine] {
    static ENGINES: OnceLock<Result<Vec<Engine>, String>> = OnceLock::new();
    let engines = ENGINES.get_or_init(|| engines::set_up().map_err(|error| format!("{error:#}")));
    engines.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A folder with a configuration, the repository's `terraform/` beside it, and an engine and an API to work with.
struct Workspace {
    engine: &'static Engine,
    api: SampleApi,
    folder: PathBuf,
    _temporary: TempDir,
}

impl Workspace {
    /// With this configuration.
    fn new(engine: &'static Engine, configuration: &str) -> Self {
        let workspace = Self::empty(engine, "");
        fs::write(workspace.folder.join("main.tf"), configuration).unwrap();
        workspace.init()
    }

    /// In a folder of `terraform/`, whose configuration is used as it is.
    fn of(engine: &'static Engine, folder: &str) -> Self {
        Self::empty(engine, folder).init()
    }

    fn empty(engine: &'static Engine, folder: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        copy(&Path::new(REPOSITORY).join("terraform"), &temporary.path().join("terraform"));
        let folder = temporary.path().join(folder);
        Workspace { engine, api: SampleApi::start(), folder, _temporary: temporary }
    }

    fn init(self) -> Self {
        self.succeed(&["init", "-input=false", "-no-color"]);
        self
    }

    fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let mut command = without_settings(self.engine.command(&self.folder));
        command.env("PATH", engines::path_with(Path::new(PROGRAM)).unwrap());
        command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", self.api.url()).args(args);
        let mut command = assert_cmd::Command::from_std(command);
        command.timeout(Duration::from_secs(120));
        command
    }

    /// Runs it and sees to it that the key is nowhere in what it says.
    fn run(&self, command: &mut assert_cmd::Command) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = command.output().expect("the engine starts");
        assert_no_key(&stdout);
        assert_no_key(&stderr);
        let text = [stdout, stderr].concat();
        (status.code(), String::from_utf8(text).expect("UTF-8"))
    }

    fn succeed(&self, args: &[&str]) -> String {
        let (code, text) = self.run(&mut self.command(args));
        assert_eq!(code, Some(0), "{}: {args:?}: {text}", self.engine);
        text
    }

    fn fail(&self, args: &[&str]) -> String {
        let (code, text) = self.run(&mut self.command(args));
        assert_eq!(code, Some(1), "{}: {args:?}: {text}", self.engine);
        text
    }

    /// Applies, sees to it that another plan has nothing to do, and gives back the outputs.
    fn apply(&self) -> Map<String, Value> {
        self.succeed(&["apply", "-auto-approve", "-input=false", "-no-color"]);
        self.succeed(&["plan", "-detailed-exitcode", "-input=false", "-no-color"]);
        assert_no_key(&fs::read(self.folder.join("terraform.tfstate")).unwrap());
        let outputs: Map<String, Value> = serde_json::from_str(&self.succeed(&["output", "-json"])).unwrap();
        outputs.into_iter().map(|(name, mut output)| (name, output["value"].take())).collect()
    }
}

/// Copies a folder, without what an engine left there.
fn copy(from: &Path, to: &Path) {
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
fn folded(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !"│╷╵".contains(*c)).collect()
}

/// Sees to it that the engine says this, wherever it breaks the lines.
#[track_caller]
fn assert_says(said: &str, words: &str) {
    assert!(folded(said).contains(&folded(words)), "not {words:?} in {said}");
}

/// The blocks of this kind in a file, by name.
fn blocks(file: &str, kind: &str) -> Vec<(String, String)> {
    let (text, start) = (format!("\n{}", text(file)), format!("\n{kind} \""));
    let blocks = text.split(&start).skip(1).map(|block| block.split_once("\" {").expect("a block"));
    blocks.map(|(name, body)| (name.to_owned(), body.to_owned())).collect()
}

#[test]
fn the_data_source_of_the_readme_applies_as_it_is() {
    let example = code_blocks("README.md", "hcl").remove(0);
    assert_eq!(example, text("terraform/examples/existing-data-source/main.tf"));
    for engine in engines() {
        let workspace = Workspace::new(engine, &example);
        let outputs = workspace.apply();
        assert_eq!(outputs["fine_tuned_model"], "ft:davinci-002:my-org:custom_suffix:7q8mpxmy");
        assert_eq!(outputs["job"]["hyperparameters"]["n_epochs"].to_string(), "4");
        assert_as_served(&outputs["job"], &sample_api::job("ftjob-abc123"));
    }
}

#[test]
fn the_module_of_the_readme_applies_from_a_git_tag() {
    let example = code_blocks("README.md", "hcl").remove(1);
    let source = example.split('"').find(|text| text.starts_with("git::")).expect("a Git source");
    let (address, folder) = source.split_once("//terraform?").map(|(a, f)| (a, format!("//terraform?{f}"))).unwrap();
    assert_eq!(example.replace(source, "../.."), text("terraform/examples/basic/main.tf"));

    let repository = tempfile::tempdir().unwrap();
    copy(&Path::new(REPOSITORY).join("terraform"), &repository.path().join("terraform"));
    let tag = folder.split_once("ref=").unwrap().1;
    for args in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=all"],
        &["-c", "tag.gpgSign=false", "tag", tag],
    ] {
        let git = Command::new("git").args(args).current_dir(repository.path()).output().expect("git is installed");
        assert!(git.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&git.stderr));
    }
    let local = format!("git::file://{}", repository.path().display());
    for engine in engines() {
        let outputs = Workspace::new(engine, &example.replace(address, &local)).apply();
        assert_eq!(outputs["epochs"].to_string(), "4");
        assert_eq!(outputs["is_running"], false);
    }
}

#[test]
fn the_configurations_of_the_modules_readmes_apply() {
    for folder in ["terraform", "terraform/modules/jobs"] {
        let configuration = code_blocks(&format!("{folder}/README.md"), "hcl").remove(0);
        let source = configuration.split('"').find(|text| text.starts_with("git::")).expect("a Git source");
        assert!(source.contains(&format!(".git//{folder}?ref=v")), "{source}");
        for engine in engines() {
            Workspace::new(engine, &configuration.replace(source, &format!("./{folder}"))).apply();
        }
    }
}

#[test]
fn every_example_applies_as_it_is() {
    for engine in engines() {
        for (example, output) in [
            ("basic", "fine_tuned_model"),
            ("existing-data-source", "job"),
            ("fleet", "models"),
            ("guard", "model"),
            ("latest-model", "fine_tuned_model"),
            ("wait-then-use", "model"),
        ] {
            let outputs = Workspace::of(engine, &format!("terraform/examples/{example}")).apply();
            assert!(outputs[output].to_string().contains("ft:davinci-002:my-org:custom_suffix:7q8mpxmy"), "{example}");
        }
    }
}

#[test]
fn the_guard_stops_for_a_job_without_a_model_and_only_warns_about_the_rest() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/guard");
        let warned = workspace.succeed(PLAN);
        assert_says(&warned, "ftjob-abc123 was trained without a validation file");
        for (id, why) in [
            ("ftjob-failed", "ftjob-failed is failed, so there is no model to use: The job failed due to an unsafe"),
            ("ftjob-running", "ftjob-running is running, so there is no model to use: it states no error"),
        ] {
            let variable = format!("-var=fine_tuning_job_id={id}");
            for command in [&["plan"][..], &["apply", "-auto-approve"]] {
                let args = [command, &["-input=false", "-no-color", &variable]].concat();
                let said = workspace.fail(&args);
                assert_says(&said, why);
            }
        }
    }
}

#[test]
fn failures_are_whole_and_readable() {
    // The README's data source without its program, then the failures that the helper itself tells.
    let bare = code_blocks("README.md", "hcl").remove(0).replace("\"openai-fine-tuning-job\"", "\"no-such-program\"");
    let configuration = bare
        + r#"
        module "no_program" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
          program            = ["no-such-program"]
        }
        module "not_found" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-none"
          api_key_env        = "OTHER_KEY"
        }
        module "no_key" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
        }
        module "no_id" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = ["ftjob-abc123", "a/b"]
          api_key_env         = "OTHER_KEY"
        }
        data "external" "misspelt" {
          program = ["openai-fine-tuning-job"]
          query   = { fine_tuning_jobid = "ftjob-abc123" }
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        let plan = |arg| {
            let mut command = workspace.command(&["plan", "-input=false", arg]);
            let (code, text) = workspace.run(command.env_remove("OPENAI_API_KEY").env("OTHER_KEY", KEY));
            assert_eq!(code, Some(1), "{engine}: {text}");
            text
        };
        // This request is the first, the next command's the second, and so on.
        let other_key = ["ftjob-none", "api_key_env=OTHER_KEY"];
        let not_found = failure(1, helper_for(&workspace.api).args(other_key).env("OTHER_KEY", KEY));
        let whole = [
            not_found.replace("req_sample1", "req_sample2"),
            failure(2, helper().arg("ftjob-abc123")),
            failure(2, helper_for(&workspace.api).arg(r#"fine_tuning_job_ids=["ftjob-abc123","a/b"]"#)),
            failure(2, helper().write_stdin(r#"{"fine_tuning_jobid":"ftjob-abc123"}"#)),
        ];
        let events = plan("-json");
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let diagnostics: Vec<_> = events.filter(|event| event["type"] == "diagnostic").collect();
        for line in &whole {
            let is_whole = |event: &Value| {
                let diagnostic = &event["diagnostic"];
                [&diagnostic["summary"], &diagnostic["detail"]].iter().any(|t| t.as_str().unwrap_or("").contains(line))
            };
            assert!(diagnostics.iter().any(is_whole), "{engine}: not {line:?} in {diagnostics:#?}");
        }
        let said = plan("-no-color");
        for line in whole {
            let line = line.replace("req_sample2", "req_sample3");
            assert_says(&said, &line);
        }
        for hint in [
            "program not found? See README, Install",
            "program not found? See the README of openai-fine-tuning-job, Install",
        ] {
            assert!(said.contains(hint), "{engine}: {said}");
        }
        assert!(text("README.md").contains("\n## Install\n"));
    }
}

#[test]
fn every_job_has_the_same_type_and_what_the_api_served() {
    let served = sample_api::jobs();
    let ids: Vec<_> = served.iter().map(|job| job["id"].as_str().unwrap()).collect();
    let configuration = r#"
        resource "terraform_data" "id" {
          input = "ftjob-dpo"
        }
        module "job" {
          source             = "./terraform"
          for_each           = merge({ for id in IDS : id => id }, { known_at_apply = terraform_data.id.output })
          fine_tuning_job_id = each.value

          # Null is the same as leaving an input out.
          timeout    = null
          allow_http = null
          program    = null
        }
        module "jobs" {
          source              = "./terraform/modules/jobs"
          fine_tuning_job_ids = concat(IDS, [terraform_data.id.output])
        }
        output "at_once" {
          value = module.jobs.jobs
        }
        output "jobs" {
          value = { for key, job in module.job : key => job.job }
        }
        output "list" {
          value = tolist([for job in module.job : job.job])
        }
        output "mixed" {
          value = [for pair in setproduct(keys(module.job), keys(module.job)) :
          (length(pair[0]) < length(pair[1]) ? module.job[pair[0]].job : module.job[pair[1]].job).id]
        }
        output "results" {
          value = { for key, job in module.job : key => job.result }
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration.replace("IDS", &format!("{ids:?}")));
        let outputs = workspace.apply();
        assert_eq!(outputs["list"].as_array().unwrap().len(), ids.len() + 1);
        assert_eq!(outputs["mixed"].as_array().unwrap().len(), (ids.len() + 1).pow(2));
        for &id in &ids {
            assert_as_served(&outputs["jobs"][id], &sample_api::job(id));
            assert_as_served(&outputs["at_once"][id], &sample_api::job(id));
            assert_eq!(outputs["results"][id], result(helper_for(&workspace.api).arg(id)));
        }
        assert_as_served(&outputs["jobs"]["known_at_apply"], &sample_api::job("ftjob-dpo"));
        // The type states what the helper prints: this job has nothing that no document names.
        let printed = result(helper_for(&workspace.api).arg("ftjob-abc123"));
        let printed: Value = serde_json::from_str(printed["job"].as_str().unwrap()).unwrap();
        assert_eq!(paths(&outputs["jobs"]["ftjob-abc123"]), paths(&printed));
        assert_eq!(outputs["jobs"]["ftjob-today"]["trained_tokens"].to_string(), "9007199254740993");

        // One line, as Terraform's console only prints the last of several.
        let asked = "type(concat([for job in module.job : job.job], [for job in module.jobs.jobs : job]))";
        let (code, types) = workspace.run(workspace.command(&["console"]).write_stdin(asked));
        assert_eq!(code, Some(0), "{types}");
        let types =
            types.trim().strip_prefix("tuple([\n").and_then(|types| types.strip_suffix("\n])")).expect("a tuple");
        let types: Vec<_> = types.split_inclusive("\n    }),").map(|text| text.trim_start_matches('\n')).collect();
        assert_eq!(types.len(), 2 * ids.len() + 1, "{types:?}");
        assert!(types[0].starts_with("    object({"), "{types:?}");
        for other in &types {
            assert_eq!(*other, types[0], "{engine}");
        }
    }
}

#[test]
fn a_provider_s_data_source_is_replaced_by_the_module() {
    const ATTRIBUTES: [&str; 16] = [
        "id",
        "job",
        "job.id",
        "job.object",
        "job.model",
        "job.created_at",
        "job.finished_at",
        "job.fine_tuned_model",
        "job.organization_id",
        "job.status",
        "job.training_file",
        "job.validation_file",
        "job.hyperparameters",
        "job.hyperparameters.n_epochs",
        "job.trained_tokens",
        "job.error",
    ];
    // As the provider documents it.
    let mut configuration =
        "data \"openai_fine_tuning_job\" \"example\" {\n  fine_tuning_job_id = \"ftjob-running\"\n}\n".to_owned();
    for path in ATTRIBUTES {
        let name = path.replace('.', "_");
        configuration += &format!("output \"{name}\" {{\n  value = data.openai_fine_tuning_job.example.{path}\n}}\n");
    }
    let configuration = configuration
        .replace("data \"openai_fine_tuning_job\" \"example\" {", "module \"example\" {\n  source = \"./terraform\"")
        .replace("data.openai_fine_tuning_job.", "module.");
    for engine in engines() {
        let outputs = Workspace::new(engine, &configuration).apply();
        assert_eq!(outputs["id"], "ftjob-running");
        assert_as_served(&outputs["job"], &sample_api::job("ftjob-running"));
        for path in ATTRIBUTES.iter().filter_map(|path| path.strip_prefix("job.")) {
            // `output -json` leaves out outputs that are null.
            let output = outputs.get(&format!("job_{}", path.replace('.', "_"))).unwrap_or(&Value::Null);
            assert_eq!(Some(output), outputs["job"].pointer(&format!("/{}", path.replace('.', "/"))), "{path}");
        }
    }
}

#[test]
fn an_id_that_is_none_is_refused_in_the_helper_s_words() {
    let said_by_helper = failure(2, helper_for(&SampleApi::start()).arg("a/b"));
    let configuration = "module \"example\" {\n  source = \"./terraform\"\n  fine_tuning_job_id = \"a/b\"\n}\n";
    for engine in engines() {
        let workspace = Workspace::new(engine, configuration);
        let said = workspace.fail(PLAN);
        assert_says(&said, &said_by_helper);
        assert!(said.contains("on main.tf line 3"), "{said}");
        assert_eq!(workspace.api.connections(), 0);
    }
}

#[test]
fn a_job_that_is_not_done_is_waited_for() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/wait-then-use");
        let mut running = sample_api::job("ftjob-running");
        running["id"] = json!("ftjob-abc123");
        let done = sample_api::job("ftjob-abc123");
        let pause = Some(Duration::from_millis(10));
        workspace.api.moves("ftjob-abc123", [running.clone(), running.clone(), running, done], pause);
        assert_eq!(workspace.apply()["model"], "ft:davinci-002:my-org:custom_suffix:7q8mpxmy");
        // Four looks until it was done, and one for the plan after that.
        assert_eq!(workspace.api.requests().len(), 5);
    }
}

#[test]
fn a_status_that_is_not_met_stops_the_plan_and_a_destroy_that_reads() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/wait-then-use");
        let line = failure(1, helper_for(&workspace.api).args(["ftjob-failed", "require_status=succeeded"]));
        assert!(line.contains("The job failed due to an unsafe training file"), "{line}");
        let said = workspace.fail(&["plan", "-input=false", "-no-color", "-var=fine_tuning_job_id=ftjob-failed"]);
        assert_says(&said, &line);

        // The job of what was deployed is no more what it was.
        workspace.apply();
        let mut failed = sample_api::job("ftjob-failed");
        failed["id"] = json!("ftjob-abc123");
        workspace.api.moves("ftjob-abc123", [failed], None);
        let destroy = ["destroy", "-auto-approve", "-input=false", "-no-color"];
        let said = workspace.fail(&destroy);
        assert_says(&said, &line.replace("ftjob-failed", "ftjob-abc123"));
        let asked = workspace.api.requests().len();
        let said = workspace.succeed(&[&destroy[..], &["-refresh=false"]].concat());
        assert!(said.contains("1 destroyed"), "{said}");
        assert_eq!(workspace.api.requests().len(), asked);
    }
}

#[test]
fn the_newest_job_is_found_in_three_requests() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/latest-model");
        workspace.succeed(&["plan", "-input=false"]);
        assert!(workspace.api.requests().len() <= 3);
        assert_eq!(workspace.apply()["id"], "ftjob-n20");

        // Where none fits, the helper's line says what came nearest.
        let filters = ["most_recent=true", "status=running", "suffix=support"];
        let line = failure(1, helper_for(&workspace.api).args(filters));
        assert!(line.contains("there is no fine-tuning job with status running and suffix support"), "{line}");
        let configuration = r#"
            module "none" {
              source      = "./terraform"
              most_recent = true
              status      = "running"
              suffix      = "support"
            }
            "#;
        let said = Workspace::new(engine, configuration).fail(PLAN);
        assert_says(&said, &line);
    }
}

/// The module for many jobs with these arguments, and what it gives back.
fn jobs_module(arguments: &str) -> String {
    format!(
        "module \"jobs\" {{\n  source = \"./terraform/modules/jobs\"\n{arguments}\n}}\n\
         output \"ids\" {{\n  value = module.jobs.ids\n}}\noutput \"jobs\" {{\n  value = module.jobs.jobs\n}}\n"
    )
}

/// Sees to it that these are the numbered jobs, and no others.
fn assert_numbered(jobs: &Value, numbers: &[usize]) {
    assert_eq!(jobs.as_object().unwrap().len(), numbers.len());
    for &number in numbers {
        assert_as_served(&jobs[format!("ftjob-n{number}")], &sample_api::numbered_job(number));
    }
}

#[test]
fn a_hundred_jobs_take_one_process() {
    let ids: Vec<_> = (1..=100).rev().map(|number| format!("ftjob-n{number}")).collect();
    // The last one is asked for once.
    let configuration = jobs_module(&format!("fine_tuning_job_ids = concat({ids:?}, [\"ftjob-n100\"])"));
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        workspace.succeed(&["plan", "-input=false"]);
        let asked = workspace.api.paths();
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "{asked:?}");
        assert!(workspace.api.connections() <= 16, "{}", workspace.api.connections());
        let outputs = workspace.apply();
        assert_eq!(outputs["ids"].as_array().unwrap()[..100], *json!(ids).as_array().unwrap());
        assert_numbered(&outputs["jobs"], &(1..=100).collect::<Vec<_>>());
    }
}

#[test]
fn jobs_can_be_chosen_by_what_they_have() {
    let configuration = jobs_module(
        r#"
        model    = "davinci-002"
        status   = "succeeded"
        suffix   = "support"
        metadata = { env = "prod" }
        limit    = 3
        "#,
    );
    for engine in engines() {
        let outputs = Workspace::new(engine, &configuration).apply();
        assert_eq!(outputs["ids"], json!(["ftjob-n20", "ftjob-n18", "ftjob-n16"]));
        assert_numbered(&outputs["jobs"], &[16, 18, 20]);
    }
}

#[test]
fn no_ids_take_no_request_no_key_and_no_program() {
    let configuration = jobs_module("fine_tuning_job_ids = []\nprogram = [\"no-such-program\"]");
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        let mut apply = workspace.command(&["apply", "-auto-approve", "-input=false", "-no-color"]);
        let (code, said) = workspace.run(apply.env_remove("OPENAI_API_KEY"));
        assert_eq!(code, Some(0), "{said}");
        let outputs = workspace.apply();
        assert_eq!((&outputs["ids"], &outputs["jobs"]), (&json!([]), &json!({})));
        assert_eq!(workspace.api.connections(), 0);
    }
}

#[test]
fn a_hiccup_does_not_show() {
    // What Terraform says, without how long it took.
    let plan = |workspace: &Workspace| {
        let said = workspace.succeed(PLAN);
        said.lines()
            .filter(|line| !line.contains("Read complete after"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/basic");
        let undisturbed = plan(&workspace);
        let hiccup = |status, headers: &'static [(&str, &str)]| -> Fault { answering(response(status, headers, "{}")) };
        workspace.api.play([hiccup("429 Too Many Requests", &[("retry-after", "1")]), hiccup("502 Bad Gateway", &[])]);
        assert_eq!(plan(&workspace), undisturbed);
        assert_eq!(workspace.api.connections(), 4);
    }
}

#[test]
fn an_api_that_never_answers_ends_a_plan_in_time() {
    let configuration = r#"
        module "example" {
          source             = "./terraform"
          fine_tuning_job_id = "ftjob-abc123"
          timeout            = "3s"
        }
        "#;
    for engine in engines() {
        let workspace = Workspace::new(engine, configuration);
        // The helper's own time as the API sees it, without the engine's: from its first request to its last hang-up.
        let (clock, times) = mpsc::channel();
        workspace.api.play((0..2).map(|_| -> Fault {
            let clock = clock.clone();
            Box::new(move |c| {
                c.read_request()?;
                let _ = clock.send(Instant::now());
                let hung_up = c.read_request();
                let _ = clock.send(Instant::now());
                hung_up.map(drop)
            })
        }));
        let said = workspace.fail(PLAN);
        assert_says(&said, "no answer from 127.0.0.1:");
        assert_says(&said, "(after 2 attempts)");
        let times: Vec<_> = (0..4).map(|_| times.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
        let taken = times[3] - times[0];
        assert!((2000..4000).contains(&taken.as_millis()), "{taken:?}");
    }
}

#[test]
fn the_module_s_own_tests_pass() {
    for engine in engines() {
        for (folder, file) in [("terraform", "job"), ("terraform/modules/jobs", "jobs")] {
            let runs = blocks(&format!("{folder}/tests/{file}.tftest.hcl"), "run").len();
            let workspace = Workspace::of(engine, folder);
            workspace.succeed(&["fmt", "-check", "-diff", "-recursive"]);
            workspace.succeed(&["validate", "-no-color"]);
            let said = workspace.succeed(&["test", "-no-color"]);
            assert!(said.contains(&format!("{runs} passed, 0 failed")), "{said}");
            assert_eq!(workspace.api.connections(), 0);
        }
    }
}

#[test]
fn the_module_s_own_tests_have_what_the_helper_prints() {
    let api = SampleApi::start();
    let mut compared = 0;
    for (name, run) in blocks("terraform/tests/job.tftest.hcl", "run") {
        let Some(json) = run.lines().find(|line| line.contains("\"object\":\"fine_tuning.job\"")) else {
            continue;
        };
        let id = run.split('"').nth(1).expect("an ID");
        let printed = result(helper_for(&api).arg(id));
        assert_eq!(printed["job"], json.trim(), "{name}");
        compared += 1;
    }
    assert_eq!(compared, 5);
}

#[test]
fn each_module_s_readme_has_every_variable_and_output() {
    for folder in ["terraform", "terraform/modules/jobs"] {
        let readme = text(&format!("{folder}/README.md"));
        for kind in ["variable", "output"] {
            let blocks = blocks(&format!("{folder}/{kind}s.tf"), kind);
            assert!(!blocks.is_empty());
            for (name, block) in blocks {
                let description = block.split("\n  description = \"").nth(1).and_then(|text| text.split("\"\n").next());
                let description = description.unwrap_or_else(|| panic!("{kind} {name} has no description"));
                let is_its_row = |line: &str| line.starts_with(&format!("| `{name}` |")) && line.contains(description);
                assert!(readme.lines().any(is_its_row), "{folder}/README.md does not describe {kind} {name} so");
                assert!(kind == "output" || block.contains("\n  type        = "), "{kind} {name} has no type");
            }
        }
    }
}

/// Compares each attribute with the API's own answer, read here without the helper's table of fields.
fn assert_as_served(job: &Value, api: &Value) {
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
fn paths(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(object) if !object.is_empty() => object.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(array) if !array.is_empty() => array.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => return vec![String::new()],
    };
    let inner = inner.into_iter();
    inner.flat_map(|(key, value)| paths(value).into_iter().map(move |path| format!("/{key}{path}"))).collect()
}
