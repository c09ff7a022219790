//! The example for Azure, whose provider is mocked: no test needs Azure.

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::path::PathBuf;

use crate::support::engines::{PROVIDER_MODULE, add_to_mirror, download, go_build, target_folder};
use crate::workspace::{Workspace, blocks, engines};

/// A mirror with the stand-in for hashicorp/azurerm. It is built with what the other provider is built with, so that it
/// needs no list of versions of its own.
fn azurerm() -> anyhow::Result<PathBuf> {
    let mirror = target_folder()?.join("terraform/azurerm");
    if mirror.exists() {
        fs::remove_dir_all(&mirror)?;
    }
    let source = mirror.with_file_name("azurerm-source");
    fs::create_dir_all(&source)?;
    fs::write(source.join("main.go"), include_str!("../support/azurerm/main.go"))?;
    let module = download(PROVIDER_MODULE)?;
    for file in ["go.mod", "go.sum"] {
        fs::write(source.join(file), fs::read(module.join(file))?)?;
    }
    let program = mirror.with_file_name(format!("terraform-provider-azurerm_v4.0.0{EXE_SUFFIX}"));
    go_build(&source, ".", &program)?;
    add_to_mirror(&mirror, "azurerm", "4.0.0", &program)?;
    Ok(mirror)
}

#[test]
fn the_model_of_a_job_is_deployed_at_azure() {
    let runs = blocks("terraform/examples/azure/tests/deployment.tftest.hcl", "run").len();
    let mirror = azurerm().unwrap_or_else(|error| panic!("{error:#}"));
    for engine in engines() {
        let workspace = Workspace::empty(engine, "terraform/examples/azure");
        let cli_config = workspace.folder.join("mirrors.tfrc");
        let text = fs::read_to_string(&engine.cli_config).unwrap();
        let both = format!("provider_installation {{\n  filesystem_mirror {{\n    path = {mirror:?}\n  }}\n");
        fs::write(&cli_config, text.replace("provider_installation {\n", &both)).unwrap();
        let run = |args: &[&str]| {
            let (code, said) = workspace.run(workspace.command(args).env("TF_CLI_CONFIG_FILE", &cli_config));
            assert_eq!(code, Some(0), "{engine}: {said}");
            said
        };
        run(&["init", "-input=false", "-no-color"]);
        run(&["validate", "-no-color"]);
        let said = run(&["test", "-no-color"]);
        assert!(said.contains(&format!("{runs} passed, 0 failed")), "{said}");
        assert_eq!(workspace.api.connections(), 0);
    }
}
