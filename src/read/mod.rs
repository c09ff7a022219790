//! How jobs are read, and what they must be.

pub mod batch;
pub mod checkpoints;
pub mod list;
mod models;
mod progress;
pub mod require;
pub mod wait;

pub use models::Models;
