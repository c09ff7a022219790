output "jobs" {
  description = "The fine-tuning jobs by their IDs: the API's documented attributes with their types, null where the API states nothing. The type is the same for every job, and that of the root module's `job`."
  value       = module.typed.jobs
}

output "ids" {
  description = "The IDs of the jobs, each once: in the order of `fine_tuning_job_ids`, else newest first."
  value       = tolist(local.jobs[*].id)
}
