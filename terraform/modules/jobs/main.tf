# Terraform quotes one of the two lines with a comment when it cannot find the program.
data "external" "jobs" { # program not found? See the README of openai-fine-tuning-job, Install
  program = var.program  # program not found? See the README of openai-fine-tuning-job, Install

  # Where there is nothing to ask for, neither the program nor an API key is needed.
  count = try(length(var.fine_tuning_job_ids), 1) > 0 ? 1 : 0

  # The helper takes null as a key that is left out.
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
    timeout             = var.timeout
    base_url            = var.base_url
    organization        = var.organization
    project             = var.project
    api_key_env         = var.api_key_env
    allow_http          = var.allow_http
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
