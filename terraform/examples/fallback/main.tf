variable "preferred" {
  description = "The fine-tuned model, as long as it is served."
  type        = string
  default     = "ft:gpt-4.1-2025-04-14:my-org:support:DeFgHiJk"
}

variable "fallback" {
  description = "The model that takes its place."
  type        = string
  default     = "gpt-4.1-mini-2025-04-14"
}

module "models" {
  source = "../../modules/models"

  model_ids = [var.preferred, var.fallback]
}

locals {
  model = module.models.models[var.preferred].available ? var.preferred : var.fallback
}

# Stops plan and apply if the chosen one is not served for 30 days more, be it fine-tuned or a base model.
module "guard" {
  source = "../../modules/models"

  model_ids         = [local.model]
  require_available = "30d"
}

output "model" {
  value = module.guard.models[local.model].id
}

output "served_until" {
  value = module.guard.models[local.model].shutdown_date
}
