variable "fine_tuning_job_id" {
  description = "The job whose model is to be used."
  type        = string
  default     = "ftjob-abc123"
}

module "example" {
  source = "../.."

  fine_tuning_job_id = var.fine_tuning_job_id
}

# Stands for the resource that uses the model: a secret, a parameter, an application's configuration.
resource "terraform_data" "deployment" {
  input = module.example.fine_tuned_model

  lifecycle {
    # Stops both plan and apply, so that no resource is ever set up without its model.
    precondition {
      condition     = module.example.status == "succeeded"
      error_message = "${module.example.id} is ${module.example.status}, so there is no model to use: ${coalesce(module.example.job.error, "it has no error")}"
    }
  }
}

# The softer form: it only warns, and everything is applied.
check "validated" {
  assert {
    condition     = module.example.job.validation_file != null
    error_message = "${module.example.id} was trained without a validation file: nothing measured the model"
  }
}

output "model" {
  value = terraform_data.deployment.output
}
