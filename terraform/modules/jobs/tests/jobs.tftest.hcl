# What needs no program and no API. `terraform test` and `tofu test` both run it, after `init`.

run "no_ids_are_no_jobs" {
  command = plan

  variables {
    fine_tuning_job_ids = []
    program             = ["no-such-program"]
  }

  assert {
    condition     = length(output.jobs) == 0 && length(output.ids) == 0
    error_message = "without IDs there should be no jobs"
  }
}

run "ids_and_filters_exclude_each_other" {
  command = plan

  variables {
    fine_tuning_job_ids = ["ftjob-abc123"]
    limit               = 3
  }

  expect_failures = [data.external.jobs]
}

run "requirements_need_ids" {
  command = plan

  variables {
    suffix         = "support"
    require_status = "succeeded"
  }

  expect_failures = [data.external.jobs]
}
