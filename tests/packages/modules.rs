//! The modules as one file, from a web server, on a machine without git.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::{env, fs, io, thread};

use crate::support::engines::{self, output};
use crate::support::program::{KEY, PROGRAM, without_settings};
use crate::support::sample_api::SampleApi;
use crate::{NAME, VERSION, packed};

/// Serves the packed modules until the process ends.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let modules = fs::read(packed("modules-", ".zip")).unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = answer(connection, &modules);
        }
    });
    address
}

fn answer(mut connection: TcpStream, modules: &[u8]) -> io::Result<()> {
    let mut request = BufReader::new(connection.try_clone()?).lines();
    let first = request.next().unwrap_or_else(|| Ok(String::new()))?;
    while request.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let (status, body) = if first.split(' ').nth(1).is_some_and(|path| path.starts_with("/modules-")) {
        ("200 OK", modules)
    } else {
        ("404 Not Found", &b""[..])
    };
    write!(connection, "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    if first.starts_with("GET ") { connection.write_all(body) } else { Ok(()) }
}

/// A folder that has the program and the engines, and no git.
#[cfg(unix)]
fn path_without_git(folder: &Path) {
    use std::os::unix::fs::symlink;

    symlink(PROGRAM, folder.join(NAME)).unwrap();
    for engine in ["terraform", "tofu"] {
        let path = env::var_os("PATH").unwrap_or_default();
        if let Some(found) = env::split_paths(&path).map(|folder| folder.join(engine)).find(|file| file.is_file()) {
            symlink(found, folder.join(engine)).unwrap();
        }
    }
}

#[cfg(unix)]
#[test]
fn engines_take_them_from_a_web_server() {
    let server = serve();
    let source = format!("http://{server}/modules-{VERSION}.zip//terraform");
    let configuration = format!(
        r#"
        module "one" {{
          source             = "{source}"
          fine_tuning_job_id = "ftjob-abc123"
        }}
        module "many" {{
          source              = "{source}/modules/jobs"
          fine_tuning_job_ids = ["ftjob-abc123", "ftjob-dpo"]
        }}
        output "ids" {{
          value = "${{module.one.id}} ${{join(" ", module.many.ids)}} ${{module.one.job.hyperparameters.n_epochs + 0}}"
        }}
        "#
    );
    for engine in engines::set_up().unwrap() {
        let api = SampleApi::start();
        let (folder, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        path_without_git(path.path());
        fs::write(folder.path().join("main.tf"), &configuration).unwrap();
        let command = || {
            let mut command = without_settings(engine.command(folder.path()));
            command.env("PATH", path.path()).env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", api.url());
            command
        };
        output(command().args(["init", "-input=false"])).unwrap();
        output(command().args(["apply", "-auto-approve", "-input=false"])).unwrap();
        let ids = output(command().args(["output", "-raw", "ids"])).unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&ids), "ftjob-abc123 ftjob-abc123 ftjob-dpo 4", "{engine}");
    }
}
