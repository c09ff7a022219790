data "external" "example" {            # program not found? See README, Install
  program = ["openai-fine-tuning-job"] # program not found? See README, Install
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
