variable "fine_tuning_job_id" {
  description = "The job whose model is used."
  type        = string
  default     = "ftjob-dpo"
}

variable "require_available" {
  description = "How long from now the model must still be served."
  type        = string
  default     = "30d"
}

# Stops plan and apply from 30 days before the model is shut down, while there is time to move.
module "example" {
  source = "../.."

  fine_tuning_job_id = var.fine_tuning_job_id
  require_available  = var.require_available
}

locals {
  announced = module.example.job.fine_tuned_model_shutdown_date
  shutdown  = "${coalesce(local.announced, "9999-12-31")}T00:00:00Z"
}

# Warns from 90 days before.
check "sunset" {
  assert {
    condition     = timecmp(timeadd(plantimestamp(), "${90 * 24}h"), local.shutdown) < 0
    error_message = "${module.example.fine_tuned_model} is served until ${local.shutdown}: move to another model."
  }
}

output "model" {
  value = module.example.fine_tuned_model
}

output "served_until" {
  value = local.announced
}
