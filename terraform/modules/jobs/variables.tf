# The program checks the IDs: to do so here would cost Terraform a second for each thousand.
variable "fine_tuning_job_ids" {
  description = "The IDs of the fine-tuning jobs to read, at most 1,000; with `[]` nothing is read. Without it the newest jobs that match the filters are read."
  type        = list(string)
  default     = null

  # Left out without a word, a null would empty a guard.
  validation {
    condition     = try(alltrue([for id in var.fine_tuning_job_ids : id != null && id != ""]), true)
    error_message = "fine_tuning_job_ids has an ID that is null or empty. compact() leaves such IDs out, if that is what you want."
  }
}

variable "model" {
  description = "Without `fine_tuning_job_ids`: the base model, such as `gpt-4o-mini-2024-07-18`."
  type        = string
  default     = null
}

variable "status" {
  description = "Without `fine_tuning_job_ids`: the status, such as `succeeded`."
  type        = string
  default     = null
}

variable "suffix" {
  description = "Without `fine_tuning_job_ids`: the suffix that was given for the model's name."
  type        = string
  default     = null
}

variable "metadata" {
  description = "Without `fine_tuning_job_ids`: pairs that all have to be in the job's metadata; those whose value is null are left out."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "limit" {
  description = "Without `fine_tuning_job_ids`: how many jobs to read at most. The program's default is 20."
  type        = number
  default     = null
}

variable "wait" {
  description = "With `fine_tuning_job_ids`: how long to wait until each job is final: succeeded, failed or cancelled, such as `2h`, at most `7d`. Without it the jobs are read as they are."
  type        = string
  default     = null

  # In the program's own form, as a sum of milliseconds: more than zero, and at most 7d.
  validation {
    condition = var.wait == null || var.wait == "" || try(alltrue([for millis in [sum([
      for part in regexall("([0-9]+)(ms|[dhms])", regex("^(?:[0-9]+(?:ms|[dhms]))+$", var.wait)) :
      part[0] * { d = 86400000, h = 3600000, m = 60000, s = 1000, ms = 1 }[part[1]]
    ])] : millis > 0 && millis <= 604800000]), false)
    error_message = "wait is not a duration such as 90s or 1h30m, in whole d, h, m, s or ms, of more than zero and at most 7d."
  }
}

variable "require_status" {
  description = "With `fine_tuning_job_ids`: the status that each job must have, or several separated by commas: any other stops plan, apply and destroy."
  type        = string
  default     = null
}

variable "availability" {
  description = "Whether to look up if the fine-tuned models are still served, and until when: `fine_tuned_model_available` and `fine_tuned_model_shutdown_date` are null without it."
  type        = bool
  default     = false
  nullable    = false
}

variable "require_available" {
  description = "With `fine_tuning_job_ids`: how long from now the fine-tuned models must be served, such as `30d`, as far as a shutdown is announced: if not, plan, apply and destroy stop. Implies `availability`."
  type        = string
  default     = null

  # In the program's own form, as a sum of milliseconds: more than zero, and at most 3650d.
  validation {
    condition = var.require_available == null || var.require_available == "" || try(alltrue([for millis in [sum([
      for part in regexall("([0-9]+)(ms|[dhms])", regex("^(?:[0-9]+(?:ms|[dhms]))+$", var.require_available)) :
      part[0] * { d = 86400000, h = 3600000, m = 60000, s = 1000, ms = 1 }[part[1]]
    ])] : millis > 0 && millis <= 315360000000]), false)
    error_message = "require_available is not a duration such as 90s or 1h30m, in whole d, h, m, s or ms, of more than zero and at most 3650d."
  }
}

variable "timeout" {
  description = "How long all network work for all jobs may take together, retries included, and with `wait` each poll: such as `90s` or `1m30s`, at most `1h`. The program's default is `60s`."
  type        = string
  default     = null

  # In the program's own form, as a sum of milliseconds: more than zero, and at most 1h.
  validation {
    condition = var.timeout == null || var.timeout == "" || try(alltrue([for millis in [sum([
      for part in regexall("([0-9]+)(ms|[dhms])", regex("^(?:[0-9]+(?:ms|[dhms]))+$", var.timeout)) :
      part[0] * { d = 86400000, h = 3600000, m = 60000, s = 1000, ms = 1 }[part[1]]
    ])] : millis > 0 && millis <= 3600000]), false)
    error_message = "timeout is not a duration such as 90s or 1h30m, in whole d, h, m, s or ms, of more than zero and at most 1h."
  }
}

variable "base_url" {
  description = "The API's address. The default is the environment's `OPENAI_BASE_URL`, else OpenAI's public API."
  type        = string
  default     = null
}

variable "organization" {
  description = "The organization that requests are made for. The default is the environment's `OPENAI_ORG_ID`."
  type        = string
  default     = null
}

variable "project" {
  description = "The project that requests are made for. The default is the environment's `OPENAI_PROJECT_ID`."
  type        = string
  default     = null
}

variable "api_key_env" {
  description = "The name of the environment variable that holds the API key, if it is not `OPENAI_API_KEY`. The key itself must not be given: Terraform would keep it in its state."
  type        = string
  default     = null
}

variable "allow_http" {
  description = "Whether `base_url` may be plain http to another machine. The API key then goes over the network as it is."
  type        = bool
  default     = false
  nullable    = false
}

variable "program" {
  description = "The program: a name that is on the PATH of whatever runs Terraform, or a path. A command that runs it, with arguments of its own, may stand before it. Arguments for the program itself are not allowed: they would replace the module's query."
  type        = list(string)
  default     = ["openai-fine-tuning-job"]
  nullable    = false

  # Such an argument would replace the query, and every guard with it.
  validation {
    condition     = length(var.program) < 2 || !can(regex("^(?:ftjob|[a-z][a-z0-9_]*=)\\S*$", var.program[length(var.program) - 1]))
    error_message = "program ends in an argument for the program itself, such as a job ID or timeout=5s: it would replace the query, and every guard with it. The inputs of the module are for that."
  }
}
