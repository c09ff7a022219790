output "job" {
  description = "The same job, with a type that is the same for every job."
  value       = var.job
}
