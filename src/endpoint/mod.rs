//! Where requests go, and what they carry.

mod base_url;
mod client_certificate;
mod credential;
mod custom_headers;
#[allow(clippy::module_inception)] // the concept after which the folder is named
mod endpoint;
pub mod jwt;
mod proxy;
mod roots;
mod secret_name;
mod variables;
mod workload_identity;

pub use client_certificate::CERTIFICATE_VARIABLE;
pub use credential::{Credential, PROVIDER_VARIABLE, SERVICE_ACCOUNT_VARIABLE};
pub use endpoint::{Endpoint, Overrides, secrets};
pub use proxy::Proxy;
pub use workload_identity::{Source, WorkloadIdentity};
