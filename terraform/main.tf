locals {
  # Null is the same as leaving a pair out, as it is for every input.
  metadata     = { for name, value in var.metadata : name => value if value != null }
  availability = var.availability || try(length(var.require_available), 0) > 0

  # Only what is used: a program of another version may not know the rest, and hashicorp/external 2.3.1 makes "" of null.
  query = { for key, value in {
    fine_tuning_job_id = var.fine_tuning_job_id
    most_recent        = var.most_recent ? "true" : null
    model              = var.model
    status             = var.status
    suffix             = var.suffix
    metadata           = length(local.metadata) > 0 ? jsonencode(local.metadata) : null
    wait               = var.wait
    require_status     = var.require_status
    availability       = var.availability ? "true" : null
    require_available  = var.require_available
    checkpoints        = var.checkpoints ? "true" : null
    timeout            = var.timeout
    base_url           = var.base_url
    organization       = var.organization
    project            = var.project
    api_key_env        = var.api_key_env
    allow_http         = var.allow_http ? "true" : null
  } : key => value if value != null && value != "" }
}

# Terraform quotes one of the two commented lines with every error of the program, and when it cannot find or start it.
data "external" "job" { # installed separately: see the README of openai-fine-tuning-job ("no such file or directory" in Alpine: take the musl build)
  program = var.program # installed separately: see the README of openai-fine-tuning-job ("no such file or directory" in Alpine: take the musl build)
  query   = local.query

  lifecycle {
    # The program says the same, but in terms of query keys that this module does not have.
    precondition {
      condition     = (var.fine_tuning_job_id != null) != var.most_recent
      error_message = "Give either fine_tuning_job_id, or most_recent = true with filters: they say which job to read."
    }
    precondition {
      condition     = var.most_recent || length(local.metadata) + length(compact([var.model, var.status, var.suffix])) == 0
      error_message = "model, status, suffix and metadata go with most_recent = true."
    }

    # With arguments of its own, the program does not read the query.
    postcondition {
      condition     = var.fine_tuning_job_id == null || try(self.result.id, null) == var.fine_tuning_job_id
      error_message = "The program did not read the job fine_tuning_job_id: program must not have arguments for the program itself."
    }

    # What an older program does not look up must not pass for what is not there.
    postcondition {
      condition = !local.availability || try(alltrue([
        for job in [jsondecode(lookup(self.result, "job", ""))] :
        job.fine_tuned_model == null || job.fine_tuned_model_available != null
      ]), false)
      error_message = "The program did not look up whether the model is available: that takes openai-fine-tuning-job 0.2.0 or later, without arguments for the program itself in program."
    }
    postcondition {
      condition     = !var.checkpoints || can(jsondecode(lookup(self.result, "job", "")).checkpoints)
      error_message = "The program did not read the checkpoints: that takes openai-fine-tuning-job 0.2.0 or later."
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
