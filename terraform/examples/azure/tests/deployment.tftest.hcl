# With neither Azure nor the program: `terraform init`, then `terraform test` (1.7 or later) or `tofu test`.

mock_provider "azurerm" {}

variables {
  base_url             = "https://example.openai.azure.com/openai/v1"
  cognitive_account_id = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/ai/providers/Microsoft.CognitiveServices/accounts/example"
}

run "the_model_of_the_job_is_deployed" {
  override_module {
    target = module.support
    outputs = {
      id               = "ftjob-1a2b"
      fine_tuned_model = "gpt-4.1-mini-2025-04-14.ft-2d4f6b8c0e2a4f3d9c5b7e9f1a3d5c7e-support"
    }
  }

  assert {
    condition     = output.model == "gpt-4.1-mini-2025-04-14.ft-2d4f6b8c0e2a4f3d9c5b7e9f1a3d5c7e-support"
    error_message = "the deployment should have the model of the job"
  }

  assert {
    condition = alltrue([for model in azurerm_cognitive_deployment.support.model :
      model.format == "OpenAI" && model.version == "1"
    ])
    error_message = "a fine-tuned model has the format OpenAI and version 1"
  }
}

run "a_job_without_a_model_is_not_deployed" {
  command = plan

  override_module {
    target = module.support
    outputs = {
      id               = "ftjob-1a2b"
      fine_tuned_model = null
    }
  }

  expect_failures = [azurerm_cognitive_deployment.support]
}
