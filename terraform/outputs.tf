output "id" {
  description = "The ID of the fine-tuning job."
  value       = local.job.id
}

output "job" {
  description = "The fine-tuning job: the API's documented attributes with their types, null if the API has no value. The type is the same for every job."
  value       = local.job
}

output "fine_tuned_model" {
  description = "The name of the fine-tuned model; null until there is one."
  value       = local.job.fine_tuned_model
}

output "status" {
  description = "The job's status, such as `running`, `succeeded`, `failed` or `cancelled`."
  value       = local.job.status
}

output "result" {
  description = "The program's result as it is: a map of strings. Here is also what the API sends beyond its documentation, and its whole answer as `raw_json`."
  value       = data.external.job.result
}
