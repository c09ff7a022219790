data "external" "example" {
  program = ["openai-fine-tuning-job"] # installed separately: see Install in the README
  query = {
    fine_tuning_job_id = "ftjob-abc123"
  }
}

output "fine_tuned_model" {
  value = data.external.example.result.fine_tuned_model
}

output "job" {
  value = jsondecode(data.external.example.result.job)
}
