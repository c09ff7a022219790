module "example" {
  source = "../.."

  fine_tuning_job_id = "ftjob-abc123"
}

output "fine_tuned_model" {
  value = module.example.fine_tuned_model
}

output "epochs" {
  value = module.example.job.hyperparameters.n_epochs # a number
}

output "is_running" {
  value = module.example.job.finished_at == null
}
