# A job as a program before version 0.2.0 prints it: without what later versions look up.

run "what_a_later_version_adds_is_null_or_empty" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-abc123"
  }

  override_data {
    target = data.external.job
    values = {
      result = {
        id  = "ftjob-abc123"
        job = <<-JSON
          {"created_at":1692661014,"error":null,"error_code":null,"error_param":null,"estimated_finish":0,"fine_tuned_model":"ft:davinci-002:my-org:custom_suffix:7q8mpxmy","finished_at":1692661190,"hyperparameters":{"batch_size":1,"learning_rate_multiplier":1.0,"n_epochs":4},"id":"ftjob-abc123","integrations":[],"metadata":{},"method":{"dpo":{"hyperparameters":{"batch_size":null,"beta":null,"learning_rate_multiplier":null,"n_epochs":null}},"reinforcement":{"grader":null,"hyperparameters":{"batch_size":null,"compute_multiplier":null,"eval_interval":null,"eval_samples":null,"learning_rate_multiplier":null,"n_epochs":null,"reasoning_effort":null}},"supervised":{"hyperparameters":{"batch_size":1,"learning_rate_multiplier":1,"n_epochs":4}},"type":"supervised"},"model":"davinci-002","object":"fine_tuning.job","organization_id":"org-123","result_files":["file-abc123"],"seed":0,"status":"succeeded","trained_tokens":5768,"training_file":"file-abc123","user_provided_suffix":null,"validation_file":null}
        JSON
      }
    }
  }

  assert {
    condition     = output.job.fine_tuned_model_available == null && output.job.fine_tuned_model_shutdown_date == null
    error_message = "what was not looked up should be null"
  }

  assert {
    condition     = length(output.job.checkpoints) == 0
    error_message = "checkpoints should be empty"
  }

  assert {
    condition     = output.job.hyperparameters.n_epochs == 4 && output.status == "succeeded"
    error_message = "the rest should be the job's"
  }
}

run "a_guard_does_not_pass_for_lack_of_an_answer" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-abc123"
    require_available  = "30d"
  }

  override_data {
    target = data.external.job
    values = {
      result = {
        id  = "ftjob-abc123"
        job = "{\"fine_tuned_model\":\"ft:davinci-002:my-org:custom_suffix:7q8mpxmy\"}"
      }
    }
  }

  expect_failures = [data.external.job]
}

run "checkpoints_are_not_empty_for_lack_of_an_answer" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-abc123"
    checkpoints        = true
  }

  override_data {
    target = data.external.job
    values = {
      result = {
        id  = "ftjob-abc123"
        job = "{\"fine_tuned_model\":null}"
      }
    }
  }

  expect_failures = [data.external.job]
}
