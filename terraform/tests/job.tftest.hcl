# The outputs' types and nulls, without program or API: each run puts what the program prints for one of the sample jobs in
# the place of the data source. `terraform test` and `tofu test` both run it, after `init`.

run "a_succeeded_job_has_its_model_and_numbers" {
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
          {"checkpoints":[],"created_at":1692661014,"error":null,"error_code":null,"error_param":null,"estimated_finish":0,"fine_tuned_model":"ft:davinci-002:my-org:custom_suffix:7q8mpxmy","fine_tuned_model_available":null,"fine_tuned_model_shutdown_date":null,"finished_at":1692661190,"hyperparameters":{"batch_size":1,"learning_rate_multiplier":1.0,"n_epochs":4},"id":"ftjob-abc123","integrations":[],"metadata":{},"method":{"dpo":{"hyperparameters":{"batch_size":null,"beta":null,"learning_rate_multiplier":null,"n_epochs":null}},"reinforcement":{"grader":null,"hyperparameters":{"batch_size":null,"compute_multiplier":null,"eval_interval":null,"eval_samples":null,"learning_rate_multiplier":null,"n_epochs":null,"reasoning_effort":null}},"supervised":{"hyperparameters":{"batch_size":1,"learning_rate_multiplier":1,"n_epochs":4}},"type":"supervised"},"model":"davinci-002","object":"fine_tuning.job","organization_id":"org-123","result_files":["file-abc123"],"seed":0,"status":"succeeded","trained_tokens":5768,"training_file":"file-abc123","user_provided_suffix":null,"validation_file":null}
        JSON
      }
    }
  }

  assert {
    condition     = output.id == "ftjob-abc123" && output.status == "succeeded"
    error_message = "id and status should be the job's"
  }

  assert {
    condition     = output.fine_tuned_model == "ft:davinci-002:my-org:custom_suffix:7q8mpxmy"
    error_message = "fine_tuned_model should be the job's"
  }

  assert {
    condition     = output.job.hyperparameters.n_epochs == 4 && output.job.trained_tokens == 5768
    error_message = "counts should be numbers"
  }

  assert {
    condition     = output.job.error == null && output.job.validation_file == null
    error_message = "what is null in the API's answer should be null"
  }

  assert {
    condition     = output.job.method.dpo.hyperparameters.beta == null
    error_message = "an unused method should be there, its leaves null"
  }

  assert {
    condition     = output.job.result_files == tolist(["file-abc123"]) && jsonencode(output.job.integrations) == "[]"
    error_message = "arrays should be lists, absent ones empty"
  }
}

run "a_running_job_has_nulls" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-running"
  }

  override_data {
    target = data.external.job
    values = {
      result = {
        id  = "ftjob-running"
        job = <<-JSON
          {"checkpoints":[],"created_at":1721764800,"error":null,"error_code":null,"error_param":null,"estimated_finish":1721768400,"fine_tuned_model":null,"fine_tuned_model_available":null,"fine_tuned_model_shutdown_date":null,"finished_at":null,"hyperparameters":{"batch_size":null,"learning_rate_multiplier":null,"n_epochs":3},"id":"ftjob-running","integrations":[],"metadata":{},"method":{"dpo":{"hyperparameters":{"batch_size":null,"beta":null,"learning_rate_multiplier":null,"n_epochs":null}},"reinforcement":{"grader":null,"hyperparameters":{"batch_size":null,"compute_multiplier":null,"eval_interval":null,"eval_samples":null,"learning_rate_multiplier":null,"n_epochs":null,"reasoning_effort":null}},"supervised":{"hyperparameters":{"batch_size":null,"learning_rate_multiplier":null,"n_epochs":3}},"type":"supervised"},"model":"gpt-4o-mini-2024-07-18","object":"fine_tuning.job","organization_id":"org-123","result_files":[],"seed":683058546,"status":"running","trained_tokens":null,"training_file":"file-train1","user_provided_suffix":"support","validation_file":"file-valid1"}
        JSON
      }
    }
  }

  assert {
    condition     = output.job.finished_at == null && output.job.fine_tuned_model == null && output.fine_tuned_model == null
    error_message = "what is not there yet should be null"
  }

  assert {
    condition     = output.job.hyperparameters.n_epochs == 3 && output.job.hyperparameters.batch_size == null
    error_message = "a number that is not decided yet should be null"
  }

  assert {
    condition     = length(output.job.result_files) == 0 && jsonencode(output.job.metadata) == "{}"
    error_message = "an absent map should be empty"
  }
}

run "a_failed_job_says_why" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-failed"
  }

  override_data {
    target = data.external.job
    values = {
      result = {
        id  = "ftjob-failed"
        job = <<-JSON
          {"checkpoints":[],"created_at":1721764800,"error":"The job failed due to an unsafe training file: line 7 says \"no\" – see the file's events.","error_code":"invalid_training_file","error_param":"training_file","estimated_finish":null,"fine_tuned_model":null,"fine_tuned_model_available":null,"fine_tuned_model_shutdown_date":null,"finished_at":1721764867,"hyperparameters":{"batch_size":1,"learning_rate_multiplier":1.8,"n_epochs":3},"id":"ftjob-failed","integrations":[],"metadata":{},"method":{"dpo":{"hyperparameters":{"batch_size":null,"beta":null,"learning_rate_multiplier":null,"n_epochs":null}},"reinforcement":{"grader":null,"hyperparameters":{"batch_size":null,"compute_multiplier":null,"eval_interval":null,"eval_samples":null,"learning_rate_multiplier":null,"n_epochs":null,"reasoning_effort":null}},"supervised":{"hyperparameters":{"batch_size":null,"learning_rate_multiplier":null,"n_epochs":null}},"type":null},"model":"gpt-4o-mini-2024-07-18","object":"fine_tuning.job","organization_id":"org-123","result_files":[],"seed":42,"status":"failed","trained_tokens":null,"training_file":"file-train2","user_provided_suffix":null,"validation_file":null}
        JSON
      }
    }
  }

  assert {
    condition     = startswith(output.job.error, "The job failed due to an unsafe training file")
    error_message = "error should be the API's message"
  }

  assert {
    condition     = output.job.error_code == "invalid_training_file" && output.job.error_param == "training_file"
    error_message = "code and param should stand beside the message"
  }
}

run "a_reinforcement_job_has_its_grader" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-reinforcement"
  }

  override_data {
    target = data.external.job
    values = {
      result = {
        id  = "ftjob-reinforcement"
        job = <<-JSON
          {"checkpoints":[],"created_at":1750000000,"error":null,"error_code":null,"error_param":null,"estimated_finish":null,"fine_tuned_model":"ft:o4-mini-2025-04-16:my-org:grader:CdEfGhIj","fine_tuned_model_available":null,"fine_tuned_model_shutdown_date":null,"finished_at":1750010000,"hyperparameters":{"batch_size":4,"learning_rate_multiplier":2.5,"n_epochs":1},"id":"ftjob-reinforcement","integrations":[],"metadata":{},"method":{"dpo":{"hyperparameters":{"batch_size":null,"beta":null,"learning_rate_multiplier":null,"n_epochs":null}},"reinforcement":{"grader":"{\"input\":\"{{sample.output_text}}\",\"name\":\"exact\",\"operation\":\"eq\",\"reference\":\"{{item.answer}}\",\"type\":\"string_check\"}","hyperparameters":{"batch_size":4,"compute_multiplier":1.0,"eval_interval":5,"eval_samples":2,"learning_rate_multiplier":2.5,"n_epochs":1,"reasoning_effort":"medium"}},"supervised":{"hyperparameters":{"batch_size":null,"learning_rate_multiplier":null,"n_epochs":null}},"type":"reinforcement"},"model":"o4-mini-2025-04-16","object":"fine_tuning.job","organization_id":"org-123","result_files":["file-result5"],"seed":99,"status":"succeeded","trained_tokens":98765,"training_file":"file-train5","user_provided_suffix":"grader","validation_file":"file-valid5"}
        JSON
      }
    }
  }

  assert {
    condition     = output.job.method.reinforcement.hyperparameters.reasoning_effort == "medium"
    error_message = "reasoning_effort should be the job's"
  }

  assert {
    condition     = jsondecode(output.job.method.reinforcement.grader).type == "string_check"
    error_message = "the grader should be JSON text"
  }

  assert {
    condition     = output.job.hyperparameters.learning_rate_multiplier == 2.5
    error_message = "the multiplier should be a number"
  }
}

run "large_numbers_metadata_and_integrations_survive" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-today"
  }

  override_data {
    target = data.external.job
    values = {
      result = {
        id  = "ftjob-today"
        job = <<-JSON
          {"checkpoints":[],"created_at":1763500000,"error":null,"error_code":null,"error_param":null,"estimated_finish":null,"eval_id":null,"fine_tuned_model":"ft:gpt-4.1-2025-04-14:my-org:support:DeFgHiJk","fine_tuned_model_available":null,"fine_tuned_model_shutdown_date":null,"finished_at":1763503600,"hyperparameters":{"batch_size":1,"learning_rate_multiplier":2,"n_epochs":3},"id":"ftjob-today","integrations":[{"type":"wandb","wandb":{"entity":"my-team","name":"run-1","project":"support","run_id":"ftjob-today","tags":["prod","v2"]}}],"metadata":{"env":"prod","ticket.id":"SUP-1"},"method":{"dpo":{"hyperparameters":{"batch_size":null,"beta":null,"learning_rate_multiplier":null,"n_epochs":null}},"reinforcement":{"grader":null,"hyperparameters":{"batch_size":null,"compute_multiplier":null,"eval_interval":null,"eval_samples":null,"learning_rate_multiplier":null,"n_epochs":null,"reasoning_effort":null}},"supervised":{"hyperparameters":{"batch_size":1,"learning_rate_multiplier":2,"n_epochs":3}},"type":"supervised"},"model":"gpt-4.1-2025-04-14","object":"fine_tuning.job","organization_id":"org-123","result_files":["file-result7"],"seed":2024,"shared_with_openai":false,"status":"succeeded","trained_tokens":9007199254740993,"training_file":"file-train7","usage_metrics":{"cached_tokens":12},"user_provided_suffix":"support","validation_file":null}
        JSON
      }
    }
  }

  assert {
    condition     = output.job.trained_tokens == 9007199254740993
    error_message = "large numbers should keep all digits"
  }

  assert {
    condition     = output.job.metadata["ticket.id"] == "SUP-1"
    error_message = "metadata should be a map of strings"
  }

  assert {
    condition     = one(output.job.integrations).wandb.tags == tolist(["prod", "v2"])
    error_message = "integrations should be objects"
  }
}

run "an_id_that_is_none_stops_before_anything_is_read" {
  command = plan

  variables {
    fine_tuning_job_id = "../files"
  }

  expect_failures = [var.fine_tuning_job_id]
}

run "an_empty_id_is_none" {
  command = plan

  variables {
    fine_tuning_job_id = ""
  }

  expect_failures = [var.fine_tuning_job_id]
}

run "an_id_or_most_recent_is_required" {
  command = plan

  expect_failures = [data.external.job]
}

run "an_id_and_most_recent_exclude_each_other" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-abc123"
    most_recent        = true
  }

  expect_failures = [data.external.job]
}

run "filters_need_most_recent" {
  command = plan

  variables {
    fine_tuning_job_id = "ftjob-abc123"
    suffix             = "support"
  }

  expect_failures = [data.external.job]
}
