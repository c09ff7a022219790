//! Which credential counts: exactly one, the first that is there.

use anyhow::{Context, Result, bail, ensure};

use super::custom_headers;
use super::variables::visible_ascii;
use crate::text::Secret;

pub(super) const DEFAULT_KEY_VARIABLE: &str = "OPENAI_API_KEY";
/// With both of these, the credential is an access token for workload identity.
pub const PROVIDER_VARIABLE: &str = "OPENAI_IDENTITY_PROVIDER_ID";
pub const SERVICE_ACCOUNT_VARIABLE: &str = "OPENAI_SERVICE_ACCOUNT_ID";

pub(super) const TOKEN_VARIABLE: &str = "OPENAI_IDENTITY_TOKEN";
/// HCP Terraform sets it in a run if the workspace has `TFC_WORKLOAD_IDENTITY_AUDIENCE_OPENAI`: "Manually generate workload
/// identity tokens" in its documentation.
pub(super) const TERRAFORM_VARIABLE: &str = "TFC_WORKLOAD_IDENTITY_TOKEN_OPENAI";
/// GitHub sets it in a job with `permissions: id-token: write`: "OpenID Connect reference" in its documentation.
pub(super) const GITHUB_TOKEN_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// The variables whose values are tokens, and secrets whatever the credential is.
pub(super) const TOKEN_VARIABLES: &[&str] = &[TOKEN_VARIABLE, TERRAFORM_VARIABLE, GITHUB_TOKEN_VARIABLE];

/// What authorizes requests to the API.
pub enum Credential {
    /// An API key, and the variable that it came from.
    Key { key: Secret, variable: String },
    /// An access token, which the workload's identity is exchanged for.
    AccessToken,
    /// `Authorization` among the custom headers.
    CustomHeader,
}

impl Credential {
    /// `named` is the variable that the query names; `has_authorization` whether the custom headers have `Authorization`.
    ///
    /// # Errors
    /// There is none, or the first that is there cannot be used: it is never passed over for the next.
    pub(super) fn choose(
        named: Option<&str>,
        has_authorization: bool,
        variable: &dyn Fn(&str) -> Result<Option<String>>,
    ) -> Result<Self> {
        if let Some(name) = named {
            return Self::key(name, variable)?.with_context(|| no_key(name));
        }
        let ids = (variable(PROVIDER_VARIABLE)?, variable(SERVICE_ACCOUNT_VARIABLE)?);
        if let (Some(_), Some(_)) = ids {
            ensure!(
                !has_authorization,
                "{PROVIDER_VARIABLE} and {SERVICE_ACCOUNT_VARIABLE} ask for workload identity, and {} has another \
                 Authorization: remove one of both",
                custom_headers::VARIABLE
            );
            return Ok(Credential::AccessToken);
        }
        if has_authorization {
            return Ok(Credential::CustomHeader);
        }
        if let Some(key) = Self::key(DEFAULT_KEY_VARIABLE, variable)? {
            return Ok(key);
        }
        let (set, missing) = match ids {
            (Some(_), None) => (PROVIDER_VARIABLE, SERVICE_ACCOUNT_VARIABLE),
            (None, Some(_)) => (SERVICE_ACCOUNT_VARIABLE, PROVIDER_VARIABLE),
            _ => bail!(no_key(DEFAULT_KEY_VARIABLE)),
        };
        bail!("{set} is set, but {missing} is not: workload identity takes both")
    }

    fn key(name: &str, variable: &dyn Fn(&str) -> Result<Option<String>>) -> Result<Option<Self>> {
        let key = variable(name)?.map(|key| visible_ascii(name, key)).transpose()?;
        Ok(key.map(|key| Credential::Key { key: Secret::new(key), variable: name.to_owned() }))
    }

    /// As messages name it, to be checked when the API refuses it.
    pub fn name(&self) -> String {
        match self {
            Credential::Key { variable, .. } => format!("the API key in {variable}"),
            Credential::AccessToken => format!("the service account in {SERVICE_ACCOUNT_VARIABLE}"),
            Credential::CustomHeader => format!("Authorization in {}", custom_headers::VARIABLE),
        }
    }
}

fn no_key(variable: &str) -> String {
    format!(
        "no API key: set the environment variable {variable} where this program runs, or name another variable with \
         api_key_env"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The credential's name, or why there is none.
    fn chosen(named: Option<&str>, has_authorization: bool, set: &[&str]) -> String {
        let variable = |name: &str| {
            let value = set.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
            Ok(value.or(set.contains(&name).then_some("value")).map(ToOwned::to_owned))
        };
        Credential::choose(named, has_authorization, &variable)
            .map_or_else(|error| error.to_string(), |credential| credential.name())
    }

    #[test]
    fn the_first_that_is_there_counts() {
        const ALL: &[&str] = &["A_KEY", PROVIDER_VARIABLE, SERVICE_ACCOUNT_VARIABLE, DEFAULT_KEY_VARIABLE];
        let service_account = "the service account in OPENAI_SERVICE_ACCOUNT_ID";
        assert_eq!(chosen(Some("A_KEY"), true, ALL), "the API key in A_KEY");
        assert_eq!(chosen(Some(DEFAULT_KEY_VARIABLE), true, ALL), "the API key in OPENAI_API_KEY");
        assert!(chosen(Some("ANOTHER"), true, ALL).starts_with("no API key: set the environment variable ANOTHER "));
        assert_eq!(chosen(None, false, ALL), service_account);
        assert_eq!(chosen(None, false, &ALL[..3]), service_account);
        assert!(chosen(None, true, ALL).ends_with("another Authorization: remove one of both"));
        assert_eq!(chosen(None, true, &[DEFAULT_KEY_VARIABLE]), "Authorization in OPENAI_CUSTOM_HEADERS");
        assert_eq!(chosen(None, true, &[]), "Authorization in OPENAI_CUSTOM_HEADERS");
        assert_eq!(chosen(None, false, &[DEFAULT_KEY_VARIABLE]), "the API key in OPENAI_API_KEY");
        assert!(
            chosen(None, false, &["A_KEY"]).starts_with("no API key: set the environment variable OPENAI_API_KEY ")
        );
    }

    #[test]
    fn one_of_the_two_ids_counts_only_without_another_credential() {
        for (set, missing) in
            [(PROVIDER_VARIABLE, SERVICE_ACCOUNT_VARIABLE), (SERVICE_ACCOUNT_VARIABLE, PROVIDER_VARIABLE)]
        {
            let expected = format!("{set} is set, but {missing} is not: workload identity takes both");
            assert_eq!(chosen(None, false, &[set]), expected);
            assert_eq!(chosen(None, false, &[set, DEFAULT_KEY_VARIABLE]), "the API key in OPENAI_API_KEY");
            assert_eq!(chosen(None, true, &[set]), "Authorization in OPENAI_CUSTOM_HEADERS");
        }
    }

    #[test]
    fn what_cannot_be_used_is_not_passed_over() {
        for name in ["A_KEY", DEFAULT_KEY_VARIABLE] {
            let named = (name == "A_KEY").then_some(name);
            let error = chosen(named, false, &[&format!("{name}=a b"), DEFAULT_KEY_VARIABLE]);
            assert!(error.starts_with(&format!("{name} contains a blank")), "{error}");
        }
    }
}
