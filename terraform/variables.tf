variable "fine_tuning_job_id" {
  description = "The ID of the fine-tuning job to read, such as `ftjob-abc123`."
  type        = string
  nullable    = false

  # The helper checks this too, in the same words. Here the message points to the caller's own line.
  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.fine_tuning_job_id))
    error_message = "fine_tuning_job_id is ${jsonencode(var.fine_tuning_job_id)}, which is not a job's ID: 1 to 128 letters, digits, hyphens or underscores"
  }
}

variable "timeout" {
  description = "How long all network work for the job may take, retries included: such as `90s` or `1m30s`, at most `1h`. The helper's default is `60s`."
  type        = string
  default     = null
}

variable "base_url" {
  description = "The API's address. The default is the environment's `OPENAI_BASE_URL`, else OpenAI's public API."
  type        = string
  default     = null
}

variable "organization" {
  description = "The organization to ask as. The default is the environment's `OPENAI_ORG_ID`."
  type        = string
  default     = null
}

variable "project" {
  description = "The project to ask as. The default is the environment's `OPENAI_PROJECT_ID`."
  type        = string
  default     = null
}

variable "api_key_env" {
  description = "The name of the environment variable that holds the API key, where it is not `OPENAI_API_KEY`. The key itself must not be given: Terraform would keep it in its state."
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
  description = "The helper, as a command and its first arguments: a name that is on the PATH of whatever runs Terraform, or a path."
  type        = list(string)
  default     = ["openai-fine-tuning-job"]
  nullable    = false
}
