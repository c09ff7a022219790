variable "model_ids" {
  description = "The names of the models to look up, at most 100: base models, fine-tuned models, or those of checkpoints. With `[]` nothing is looked up."
  type        = list(string)
  nullable    = false

  # Left out without a word, a null would empty a guard.
  validation {
    condition     = alltrue([for name in var.model_ids : name != null && name != ""])
    error_message = "model_ids has a name that is null or empty. compact() leaves such names out, if that is what you want."
  }
}

variable "require_available" {
  description = "How long from now each of the models must be served, such as `30d`, as far as a shutdown is announced: if not, plan, apply and destroy stop."
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
  description = "How long all network work may take, retries included: such as `90s` or `1m30s`, at most `1h`. The program's default is `60s`."
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
