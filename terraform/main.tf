# Terraform quotes one of the two lines with a comment when it cannot find the program.
data "external" "job" { # program not found? See the README of openai-fine-tuning-job, Install
  program = var.program # program not found? See the README of openai-fine-tuning-job, Install

  # The helper takes null as a key that is left out.
  query = {
    fine_tuning_job_id = var.fine_tuning_job_id
    timeout            = var.timeout
    base_url           = var.base_url
    organization       = var.organization
    project            = var.project
    api_key_env        = var.api_key_env
    allow_http         = var.allow_http
  }
}

module "typed" {
  source = "./modules/typed"

  job = jsondecode(data.external.job.result.job)
}
