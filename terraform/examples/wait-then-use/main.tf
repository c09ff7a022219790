variable "fine_tuning_job_id" {
  description = "The job whose model is to be used, whether it is still running or not."
  type        = string
  default     = "ftjob-abc123"
}

module "example" {
  source = "../.."

  fine_tuning_job_id = var.fine_tuning_job_id
  wait               = "2h"
  require_status     = "succeeded"
}

# Stands for the resource that uses the model. It is never set up without one.
resource "terraform_data" "deployment" {
  input = module.example.fine_tuned_model
}

output "model" {
  value = terraform_data.deployment.output
}
