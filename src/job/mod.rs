//! What a fine-tuning job is, and how it is printed.

mod budget;
mod fields;
mod filters;
#[allow(clippy::module_inception)] // the concept after which the folder is named
mod job;
mod output;
mod view;

pub use budget::{Budget, Charge, Cost, TooMuch};
pub use fields::{CHECKPOINT_FIELDS, typed};
pub use filters::{Filters, Mismatches};
pub use job::{FINAL_STATUSES, Job, MAX_ID, STATUSES, base_of, is_id, is_same_status};
pub use output::Output;
