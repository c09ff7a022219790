output "jobs" {
  description = "The same jobs, with a type that is the same for every job."
  value       = var.jobs
}
