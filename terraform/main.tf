# Terraform quotes one of the two lines with a comment when it cannot find the program.
data "external" "job" { # program not found? See the README of openai-fine-tuning-job, Install
  program = var.program # program not found? See the README of openai-fine-tuning-job, Install

  # The helper takes null as a key that is left out.
  query = {
    fine_tuning_job_id = var.fine_tuning_job_id
    most_recent        = var.most_recent
    model              = var.model
    status             = var.status
    suffix             = var.suffix
    metadata           = length(var.metadata) > 0 ? jsonencode(var.metadata) : null
    wait               = var.wait
    require_status     = var.require_status
    timeout            = var.timeout
    base_url           = var.base_url
    organization       = var.organization
    project            = var.project
    api_key_env        = var.api_key_env
    allow_http         = var.allow_http
  }

  lifecycle {
    # The helper says this too, but with selectors that this module does not have.
    precondition {
      condition     = (var.fine_tuning_job_id != null) != var.most_recent
      error_message = "Give either fine_tuning_job_id, or most_recent = true with filters: they say which job to read."
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
