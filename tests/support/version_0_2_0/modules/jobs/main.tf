# Terraform quotes one of the two commented lines with every error of the program, and when it cannot find it.
data "external" "jobs" { # runs a program that is installed separately: see the README of openai-fine-tuning-job
  program = var.program  # installed separately: see the README of openai-fine-tuning-job

  # Where there is nothing to read, neither the program nor an API key is needed.
  count = try(length(var.fine_tuning_job_ids), 1) > 0 ? 1 : 0

  # For the program, null is the same as leaving the key out.
  query = {
    fine_tuning_job_ids = local.by_id ? jsonencode(var.fine_tuning_job_ids) : null
    list                = !local.by_id
    model               = var.model
    status              = var.status
    suffix              = var.suffix
    metadata            = length(var.metadata) > 0 ? jsonencode(var.metadata) : null
    limit               = var.limit
    wait                = var.wait
    require_status      = var.require_status
    availability        = var.availability
    require_available   = var.require_available
    timeout             = var.timeout
    base_url            = var.base_url
    organization        = var.organization
    project             = var.project
    api_key_env         = var.api_key_env
    allow_http          = var.allow_http
  }

  lifecycle {
    # The program says the same, but in terms of query keys that this module does not have.
    precondition {
      condition     = !local.by_id || length(var.metadata) + length(compact([var.model, var.status, var.suffix, var.limit])) == 0
      error_message = "Give either fine_tuning_job_ids, or any of model, status, suffix, metadata and limit: they say which jobs to read."
    }
    precondition {
      condition     = local.by_id || length(compact([var.wait, var.require_status, var.require_available])) == 0
      error_message = "wait, require_status and require_available go with fine_tuning_job_ids."
    }

    # With arguments of its own, the program does not read the query.
    postcondition {
      condition     = length(setsubtract(local.by_id ? var.fine_tuning_job_ids : ["has_more", "ids", "jobs"], keys(self.result))) == 0
      error_message = "The program did not read these jobs: program must not have arguments for the program itself."
    }
  }
}

locals {
  by_id  = var.fine_tuning_job_ids != null
  result = try(data.external.jobs[0].result, {})

  # Decoded from one text, as two lists of different jobs could not stand on both sides of a colon.
  jobs = jsondecode(local.by_id ? "[${join(",", values(local.result))}]" : local.result.jobs)
}

module "typed" {
  source = "../typed"

  jobs = { for job in local.jobs : job.id => job }
}
