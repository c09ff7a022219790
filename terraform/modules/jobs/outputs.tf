output "jobs" {
  description = "The fine-tuning jobs by their IDs: the API's documented attributes with their types, null if the API has no value. The type is the same for every job, and that of the root module's `job`."
  value       = module.typed.jobs
}

output "ids" {
  description = "The IDs of the jobs in their order: `fine_tuning_job_ids` as given, else newest first."
  value       = local.by_id ? local.ids : tolist(jsondecode(local.result.ids))
}
