# Each use of a model, with the job that trained it.
locals {
  jobs = {
    answers  = "ftjob-abc123"
    grading  = "ftjob-reinforcement"
    rewrites = "ftjob-dpo"
  }
}

# All of them in one process, over a few connections.
module "fleet" {
  source = "../../modules/jobs"

  fine_tuning_job_ids = values(local.jobs)
  require_status      = "succeeded"
}

output "models" {
  value = { for use, id in local.jobs : use => module.fleet.jobs[id].fine_tuned_model }
}

# The newest jobs for a purpose, in their order.
module "newest" {
  source = "../../modules/jobs"

  suffix = "support"
  limit  = 3
}

output "newest" {
  value = [for id in module.newest.ids : "${id} is ${module.newest.jobs[id].status}"]
}
