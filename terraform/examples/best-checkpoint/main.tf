variable "fine_tuning_job_id" {
  description = "The job whose best checkpoint is used."
  type        = string
  default     = "ftjob-dpo"
}

module "example" {
  source = "../.."

  fine_tuning_job_id = var.fine_tuning_job_id
  checkpoints        = true
}

locals {
  checkpoints = module.example.job.checkpoints

  # The loss on the whole validation file says most; where no checkpoint has one, the loss in training has to do.
  validated = anytrue([for checkpoint in local.checkpoints : checkpoint.metrics.full_valid_loss != null])
  losses    = [for checkpoint in local.checkpoints : local.validated ? checkpoint.metrics.full_valid_loss : checkpoint.metrics.train_loss]
  lowest    = try(min([for loss in local.losses : loss if loss != null]...), null)
}

output "model" {
  value = try(local.checkpoints[index(local.losses, local.lowest)].fine_tuned_model_checkpoint, null)

  precondition {
    condition     = local.lowest != null
    error_message = "${module.example.id} has no checkpoint with a loss"
  }
}

output "loss" {
  value = local.lowest
}
