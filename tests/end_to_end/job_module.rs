//! The module for one job, and the data source without it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::markdown::{code_blocks, files};
use crate::support::program::{KEY, PROGRAM, failure, program_for, result, text};
use crate::support::sample_api::servers::Server;
use crate::support::sample_api::{self, SampleApi};
use crate::workspace::{
    PLAN, REPOSITORY, Workspace, assert_as_served, assert_says, blocks, copy, data_source, engines, paths,
    with_local_sources,
};

#[test]
fn the_data_source_of_the_readme_applies_as_it_is() {
    let example = data_source();
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
    let example = code_blocks("README.md", "hcl").into_iter().find(|block| block.contains("is_running")).unwrap();
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
    // Backslashes are escapes in HCL, and Windows' paths begin with a letter.
    let path = repository.path().display().to_string().replace('\\', "/");
    let local = format!("git::file:///{}", path.trim_start_matches('/'));
    for engine in engines() {
        let outputs = Workspace::new(engine, &example.replace(address, &local)).apply();
        assert_eq!(outputs["epochs"].to_string(), "4");
        assert_eq!(outputs["is_running"], false);
    }
}

/// What a configuration has that this machine has not: each has a test of its own, or is another program's.
const NOT_HERE: [&str; 8] = [
    "azure.com",
    "override_module",
    "check \"", // with one, no plan is ever empty
    "\"uvx\"",
    "\"openai\"",
    "data \"http\"",
    "https://RELEASE/",
    "/run/secrets/",
];

#[test]
fn every_configuration_in_the_documentation_applies() {
    let blocks = files().into_iter().flat_map(|file| code_blocks(&file, "hcl"));
    for block in blocks.filter(|block| !NOT_HERE.iter().any(|part| block.contains(part))) {
        for engine in engines() {
            let workspace = Workspace::new(engine, &with_local_sources(&block));
            if block.contains("path.root}/bin/") {
                fs::create_dir(workspace.folder.join("bin")).unwrap();
                fs::copy(PROGRAM, workspace.folder.join("bin/openai-fine-tuning-job")).unwrap();
            }
            workspace.apply();
        }
    }
}

#[test]
fn the_configuration_for_azure_applies() {
    let configuration = &code_blocks("docs/servers.md", "hcl")[0];
    let azure = SampleApi::start_as(Server::Azure, None);
    let configuration = with_local_sources(configuration)
        .replace("https://RESOURCE.openai.azure.com/openai/v1", &azure.url())
        + "output \"model\" {\n  value = module.support.fine_tuned_model\n}\n";
    for engine in engines() {
        let workspace = Workspace::new(engine, &configuration);
        let mut apply = workspace.command(&["apply", "-auto-approve", "-input=false", "-no-color"]);
        apply.env_remove("OPENAI_API_KEY").env_remove("OPENAI_BASE_URL").env("AZURE_OPENAI_API_KEY", KEY);
        let (code, said) = workspace.run(&mut apply);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("gpt-4.1-mini-2025-04-14.ft-2d4f6b8c0e2a4f3d9c5b7e9f1a3d5c7e-support"), "{said}");
    }
}

#[test]
fn the_readmes_test_of_a_configuration_passes() {
    let blocks = code_blocks("terraform/README.md", "hcl");
    let test = blocks.iter().find(|block| block.contains("override_module")).unwrap();
    for engine in engines() {
        let workspace = Workspace::new(engine, &with_local_sources(&blocks[0]));
        fs::create_dir(workspace.folder.join("tests")).unwrap();
        fs::write(workspace.folder.join("tests/model.tftest.hcl"), test).unwrap();
        let said = workspace.succeed(&["test", "-no-color"]);
        assert!(said.contains("1 passed, 0 failed"), "{said}");
        assert_eq!(workspace.api.connections(), 0);
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
            assert_eq!(outputs["results"][id], result(program_for(&workspace.api).arg(id)));
        }
        assert_as_served(&outputs["jobs"]["known_at_apply"], &sample_api::job("ftjob-dpo"));
        // The type states what the program prints: this job has nothing that no document names.
        let printed = result(program_for(&workspace.api).arg("ftjob-abc123"));
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
fn the_module_replaces_a_providers_data_source() {
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
fn a_job_that_is_not_final_is_waited_for() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/wait-then-use");
        let mut running = sample_api::job("ftjob-running");
        running["id"] = json!("ftjob-abc123");
        let done = sample_api::job("ftjob-abc123");
        workspace.api.moves("ftjob-abc123", [running, done]);
        assert_eq!(workspace.apply()["model"], "ft:davinci-002:my-org:custom_suffix:7q8mpxmy");
        // Two polls until it was final, and one for the plan after that.
        assert_eq!(workspace.api.requests().len(), 3);
    }
}

#[test]
fn an_unmet_status_stops_a_plan_and_a_destroy_that_reads() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/wait-then-use");
        let line = failure(1, program_for(&workspace.api).args(["ftjob-failed", "require_status=succeeded"]));
        assert!(line.contains("The job failed due to an unsafe training file"), "{line}");
        let said = workspace.fail(&["plan", "-input=false", "-no-color", "-var=fine_tuning_job_id=ftjob-failed"]);
        assert_says(&said, &line);

        // The job of what was deployed is no more what it was.
        workspace.apply();
        let mut failed = sample_api::job("ftjob-failed");
        failed["id"] = json!("ftjob-abc123");
        workspace.api.moves("ftjob-abc123", [failed]);
        let destroy = ["destroy", "-auto-approve", "-input=false", "-no-color"];
        let said = workspace.fail(&destroy);
        assert_says(&said, &line.replace("ftjob-failed", "ftjob-abc123"));
        let sent = workspace.api.requests().len();
        let said = workspace.succeed(&[&destroy[..], &["-refresh=false"]].concat());
        assert!(said.contains("1 destroyed"), "{said}");
        assert_eq!(workspace.api.requests().len(), sent);
    }
}

#[test]
fn the_newest_job_is_found_in_three_requests() {
    for engine in engines() {
        let workspace = Workspace::of(engine, "terraform/examples/latest-model");
        workspace.succeed(&["plan", "-input=false"]);
        assert!(workspace.api.requests().len() <= 3);
        assert_eq!(workspace.apply()["id"], "ftjob-n20");

        // Where none fits, the program's line says what came nearest.
        let filters = ["most_recent=true", "status=running", "suffix=support"];
        let line = failure(1, program_for(&workspace.api).args(filters));
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

#[test]
fn the_modules_own_tests_pass() {
    for engine in engines() {
        for (folder, files) in [
            ("terraform", &["job", "older_program"][..]),
            ("terraform/modules/jobs", &["jobs"]),
            ("terraform/modules/models", &["models"]),
        ] {
            let runs = |file: &&str| blocks(&format!("{folder}/tests/{file}.tftest.hcl"), "run").len();
            let runs: usize = files.iter().map(runs).sum();
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
fn the_modules_own_tests_have_what_the_program_prints() {
    let api = SampleApi::start();
    let mut compared = 0;
    for (name, run) in blocks("terraform/tests/job.tftest.hcl", "run") {
        let Some(json) = run.lines().find(|line| line.contains("\"object\":\"fine_tuning.job\"")) else {
            continue;
        };
        let id = run.split('"').nth(1).expect("an ID");
        let printed = result(program_for(&api).arg(id));
        assert_eq!(printed["job"], json.trim(), "{name}");
        compared += 1;
    }
    assert!(compared > 0);
}

/// What an argument in a block is, as it is written.
fn argument<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().find_map(|line| line.trim_start().strip_prefix(name)?.trim_start().strip_prefix("= "))
}

#[test]
fn each_modules_readme_has_every_variable_output_and_requirement() {
    for folder in ["terraform", "terraform/modules/jobs", "terraform/modules/models"] {
        let readme = text(&format!("{folder}/README.md"));
        let has_row = |row: &str| assert!(readme.contains(&format!("\n{row}")), "{folder}/README.md has no {row}");
        for (name, block) in blocks(&format!("{folder}/variables.tf"), "variable") {
            let [kind, description] =
                ["type", "description"].map(|it| argument(&block, it).unwrap_or_else(|| panic!("{name} has no {it}")));
            let default = argument(&block, "default").map_or("required".to_owned(), |default| format!("`{default}`"));
            has_row(&format!("| `{name}` | `{kind}` | {default} | {} |", description.trim_matches('"')));
        }
        for (name, block) in blocks(&format!("{folder}/outputs.tf"), "output") {
            let description = argument(&block, "description").expect("a description").trim_matches('"');
            let is_its_row = |line: &str| line.starts_with(&format!("| `{name}` |")) && line.contains(description);
            assert!(readme.lines().any(is_its_row), "{folder}/README.md does not describe the output {name} so");
        }
        let versions = text(&format!("{folder}/versions.tf"));
        let version = |name| argument(&versions, name).and_then(|text| text.split('"').nth(1)).expect("a version");
        has_row(&format!("| Terraform | `{}` |", version("required_version")));
        assert!(
            readme.contains(&format!(" | `{}`", version("version"))),
            "{folder}/README.md requires another provider"
        );
    }
}
