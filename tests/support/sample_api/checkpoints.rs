//! The checkpoints of a sample job, in the API's shape.

use serde_json::{Value, json};

/// The job that has checkpoints, how many, and which of them has the lowest loss.
pub const JOB: &str = "ftjob-dpo";
pub const COUNT: usize = 250;
pub const BEST: usize = 173;

/// The newest first.
pub fn checkpoints(job: &str) -> Vec<Value> {
    if job == JOB { (1..=COUNT).rev().map(checkpoint).collect() } else { Vec::new() }
}

fn checkpoint(number: usize) -> Value {
    let step = number * 10;
    let loss = 0.2 + number.abs_diff(BEST) as f64 / 1000.0;
    let mut metrics =
        json!({ "step": step, "train_loss": loss, "train_mean_token_accuracy": 1.0 - loss, "type": "dpo" });
    // Some have more metrics than others.
    if number.is_multiple_of(50) {
        metrics["valid_loss"] = json!(loss + 1.0);
    }
    let name = if number == COUNT { String::new() } else { format!(":ckpt-step-{step}") };
    json!({
        "object": "fine_tuning.job.checkpoint",
        "id": format!("ftckpt_{number}"),
        "created_at": 1_745_000_000 + step,
        "fine_tuned_model_checkpoint": format!("ft:gpt-4.1-mini-2025-04-14:my-org:tone:BaBcDeFg{name}"),
        "fine_tuning_job_id": JOB,
        "metrics": metrics,
        "step_number": step,
    })
}
