locals {
  # `can` and `length` look at the list alone: an ID in it may be unknown or sensitive.
  by_id        = can(length(var.fine_tuning_job_ids))
  ids          = local.by_id ? var.fine_tuning_job_ids : []
  availability = var.availability || try(length(var.require_available), 0) > 0

  # Null is the same as leaving a pair out, as it is for every input.
  metadata = { for name, value in var.metadata : name => value if value != null }

  # Only what is used: a program of another version may not know the rest, and hashicorp/external 2.3.1 makes "" of null.
  query = { for key, value in {
    fine_tuning_job_ids = local.by_id ? jsonencode(local.ids) : null
    list                = local.by_id ? null : "true"
    model               = var.model
    status              = var.status
    suffix              = var.suffix
    metadata            = length(local.metadata) > 0 ? jsonencode(local.metadata) : null
    limit               = var.limit
    wait                = var.wait
    require_status      = var.require_status
    availability        = var.availability ? "true" : null
    require_available   = var.require_available
    timeout             = var.timeout
    base_url            = var.base_url
    organization        = var.organization
    project             = var.project
    api_key_env         = var.api_key_env
    allow_http          = var.allow_http ? "true" : null
  } : key => value if value != null && value != "" }
}

# Terraform quotes one of the two commented lines with every error of the program, and when it cannot find or start it.
data "external" "jobs" { # installed separately: see the README of openai-fine-tuning-job ("no such file or directory" in Alpine: take the musl build)
  program = var.program  # installed separately: see the README of openai-fine-tuning-job ("no such file or directory" in Alpine: take the musl build)
  query   = local.query

  # Where there is nothing to read, neither the program nor an API key is needed. A count cannot be sensitive.
  count = try(nonsensitive(length(var.fine_tuning_job_ids)), length(var.fine_tuning_job_ids), 1) > 0 ? 1 : 0

  lifecycle {
    # The program says the same, but in terms of query keys that this module does not have.
    precondition {
      condition     = !local.by_id || length(local.metadata) + length(compact([var.model, var.status, var.suffix, var.limit])) == 0
      error_message = "Give either fine_tuning_job_ids, or any of model, status, suffix, metadata and limit: they say which jobs to read."
    }
    precondition {
      condition     = local.by_id || length(compact([var.wait, var.require_status, var.require_available])) == 0
      error_message = "wait, require_status and require_available go with fine_tuning_job_ids."
    }

    # With arguments of its own, the program does not read the query.
    postcondition {
      condition     = length(setsubtract(local.by_id ? local.ids : ["has_more", "ids", "jobs"], keys(self.result))) == 0
      error_message = "The program did not read these jobs: program must not have arguments for the program itself."
    }

    # What an older program does not look up must not pass for what is not there. Terraform 1.3.1 crashes on a precondition
    # of an output, which would not have to decode the jobs once more.
    postcondition {
      condition = try(alltrue([
        for job in jsondecode(!local.availability ? "[]" : local.by_id ? "[${join(",", values(self.result))}]" : lookup(self.result, "jobs", "")) :
        job.fine_tuned_model == null || job.fine_tuned_model_available != null
      ]), false)
      error_message = "The program did not look up whether the models are available: that takes openai-fine-tuning-job 0.2.0 or later, without arguments for the program itself in program."
    }
  }
}

locals {
  result = one(data.external.jobs[*].result)
}

module "typed" {
  source = "../typed"

  # By the IDs given, so that the keys are known while the read is deferred.
  jobs = merge(
    { for id in distinct(local.ids) : id => jsondecode(local.result[id]) },
    { for job in jsondecode(local.by_id ? "[]" : local.result.jobs) : job.id => job },
  )
}
