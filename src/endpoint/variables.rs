//! Values of the environment, as every variable is read.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::jwt::is_jwt;

/// Reads an environment variable.
pub(super) type Env<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// A variable's value without surrounding blanks; `None` if it is empty.
pub(super) fn variable(name: &str, env: &Env) -> Result<Option<String>> {
    let Some(value) = env(name) else {
        return Ok(None);
    };
    let value = value.into_string().ok();
    let value = value.with_context(|| format!("the environment variable {name} is not UTF-8"))?;
    Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
}

/// The path of a file, which need not be UTF-8.
///
/// # Errors
/// The variable holds the content of the file. It is not quoted, as it may be a secret.
pub(super) fn path(name: &str, env: &Env) -> Result<Option<PathBuf>> {
    let Some(value) = env(name) else {
        return Ok(None);
    };
    let Some(text) = value.to_str().map(str::trim) else {
        return Ok(Some(value.into()));
    };
    ensure!(
        !text.contains(['\n', '\r']) && !text.contains("-----BEGIN") && !is_jwt(text),
        "{name} should be the path of a file, not what is in it"
    );
    Ok(Some(text).filter(|text| !text.is_empty()).map(Into::into))
}

/// The first bytes of a file, at most this many.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).context("it could not be read")?;
    file.take(most).read_to_end(&mut bytes).context("it could not be read")?;
    Ok(bytes)
}

/// What a header may contain. The value is not quoted, as it may be a secret.
pub(super) fn visible_ascii(name: &str, value: String) -> Result<String> {
    ensure!(
        !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()),
        "{name} contains a blank, a control character or a character outside ASCII: copy the whole value, and nothing else"
    );
    Ok(value)
}
