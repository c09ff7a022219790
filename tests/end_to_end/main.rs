//! The modules, the examples and the demo in real Terraform and OpenTofu, with the real provider.

mod availability;
mod azure;
mod demo;
mod examples;
mod failures;
mod guards;
mod job_module;
mod jobs_module;
mod models_module;
#[path = "../support/mod.rs"]
mod support;
mod validations;
mod versions;
mod workspace;
