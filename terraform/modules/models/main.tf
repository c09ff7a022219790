locals {
  # Only what is used: a program of another version may not know the rest, and hashicorp/external 2.3.1 makes "" of null.
  query = { for key, value in {
    model_ids         = jsonencode(var.model_ids)
    require_available = var.require_available
    timeout           = var.timeout
    base_url          = var.base_url
    organization      = var.organization
    project           = var.project
    api_key_env       = var.api_key_env
    allow_http        = var.allow_http ? "true" : null
  } : key => value if value != null && value != "" }
}

# Terraform quotes one of the two commented lines with every error of the program, and when it cannot find or start it.
data "external" "models" { # needs version 0.3.0, installed separately: see the README of openai-fine-tuning-job ("no such file or directory" in Alpine: take the musl build)
  program = var.program    # needs version 0.3.0, installed separately: see the README of openai-fine-tuning-job ("no such file or directory" in Alpine: take the musl build)
  query   = local.query

  # Where there is nothing to look up, neither the program nor an API key is needed. A count cannot be sensitive.
  count = try(nonsensitive(length(var.model_ids)), length(var.model_ids)) > 0 ? 1 : 0

  lifecycle {
    # With arguments of its own, the program does not read the query.
    postcondition {
      condition     = length(setsubtract(var.model_ids, keys(self.result))) == 0
      error_message = "The program did not look these models up: that takes openai-fine-tuning-job 0.3.0 or later, without arguments for the program itself in program."
    }
  }
}

locals {
  result = one(data.external.models[*].result)

  # By the names given, so that the keys are known while the read is deferred.
  models = { for name in distinct(var.model_ids) : name => jsondecode(local.result[name]) }
}
