# Terraform quotes one of the two commented lines with every error of the program, and when it cannot find it.
data "external" "job" { # runs a program that is installed separately: see the README of openai-fine-tuning-job
  program = var.program # installed separately: see the README of openai-fine-tuning-job

  # For the program, null is the same as leaving the key out.
  query = {
    fine_tuning_job_id = var.fine_tuning_job_id
    most_recent        = var.most_recent
    model              = var.model
    status             = var.status
    suffix             = var.suffix
    metadata           = length(var.metadata) > 0 ? jsonencode(var.metadata) : null
    wait               = var.wait
    require_status     = var.require_status
    availability       = var.availability
    require_available  = var.require_available
    checkpoints        = var.checkpoints
    timeout            = var.timeout
    base_url           = var.base_url
    organization       = var.organization
    project            = var.project
    api_key_env        = var.api_key_env
    allow_http         = var.allow_http
  }

  lifecycle {
    # The program says the same, but in terms of query keys that this module does not have.
    precondition {
      condition     = (var.fine_tuning_job_id != null) != var.most_recent
      error_message = "Give either fine_tuning_job_id, or most_recent = true with filters: they say which job to read."
    }
    precondition {
      condition     = var.most_recent || length(var.metadata) + length(compact([var.model, var.status, var.suffix])) == 0
      error_message = "model, status, suffix and metadata go with most_recent = true."
    }

    # With arguments of its own, the program does not read the query.
    postcondition {
      condition     = var.fine_tuning_job_id == null || try(self.result.id, null) == var.fine_tuning_job_id
      error_message = "The program did not read the job fine_tuning_job_id: program must not have arguments for the program itself."
    }
  }
}

module "typed" {
  source = "./modules/typed"

  jobs = { one = jsondecode(data.external.job.result.job) }
}

locals {
  job = module.typed.jobs.one
}
