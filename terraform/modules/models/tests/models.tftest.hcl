# What needs no program and no API. `terraform test` and `tofu test` both run it, after `init`.

run "no_names_are_no_models" {
  command = plan

  variables {
    model_ids = []
    program   = ["no-such-program"]
  }

  assert {
    condition     = length(output.models) == 0
    error_message = "without names there should be no models"
  }
}

run "models_have_one_type" {
  command = plan

  variables {
    model_ids = ["gpt-4.1-2025-04-14", "ft:davinci-002:my-org:custom_suffix:7q8mpxmy", "gpt-4.1-2025-04-14"]
  }

  override_data {
    target = data.external.models
    values = {
      result = {
        "gpt-4.1-2025-04-14"                           = "{\"available\":true,\"id\":\"gpt-4.1-2025-04-14\",\"shutdown_date\":null}"
        "ft:davinci-002:my-org:custom_suffix:7q8mpxmy" = "{\"available\":false,\"id\":\"ft:davinci-002:my-org:custom_suffix:7q8mpxmy\",\"shutdown_date\":\"2026-09-28\"}"
      }
    }
  }

  assert {
    condition     = length(output.models) == 2 && output.models["gpt-4.1-2025-04-14"].available
    error_message = "each name should be a key, and available a boolean"
  }

  assert {
    condition     = output.models["ft:davinci-002:my-org:custom_suffix:7q8mpxmy"].shutdown_date == "2026-09-28" && output.models["gpt-4.1-2025-04-14"].shutdown_date == null
    error_message = "a date should be text, and null if there is none"
  }
}

run "a_result_without_a_model_is_an_error" {
  command = plan

  variables {
    model_ids = ["gpt-4.1-2025-04-14"]
  }

  override_data {
    target = data.external.models
    values = {
      result = { id = "ftjob-abc123" }
    }
  }

  expect_failures = [data.external.models]
}

run "a_null_does_not_empty_a_guard" {
  command = plan

  variables {
    model_ids = ["gpt-4.1-2025-04-14", null]
  }

  expect_failures = [var.model_ids]
}
