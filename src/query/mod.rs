//! What a run is to do: the query as it comes, and the request that it makes once it is validated.

pub mod cli;
mod json_values;
mod keys;
#[allow(clippy::module_inception)] // the concept after which the folder is named
mod query;
mod request;

pub use request::{Request, Selector};
