# What needs no helper and no API. `terraform test` and `tofu test` both run it, after `init`.

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

run "an_id_that_is_none_stops_before_anything_is_read" {
  command = plan

  variables {
    fine_tuning_job_ids = ["ftjob-abc123", "../files"]
  }

  expect_failures = [var.fine_tuning_job_ids]
}

run "a_null_is_no_id" {
  command = plan

  variables {
    fine_tuning_job_ids = ["ftjob-abc123", null]
  }

  expect_failures = [var.fine_tuning_job_ids]
}
