//! Where requests go, and what they carry.

mod base_url;
mod custom_headers;
#[allow(clippy::module_inception)] // the concept after which the folder is named
mod endpoint;
mod proxy;
mod roots;
mod secret_name;

pub use endpoint::{Endpoint, Overrides, secrets};
pub use proxy::Proxy;
