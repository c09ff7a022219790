variable "base_url" {
  description = "The resource's address, such as `https://RESOURCE.openai.azure.com/openai/v1`."
  type        = string
}

variable "cognitive_account_id" {
  description = "The ID of the `azurerm_cognitive_account` in which the model was trained."
  type        = string
}

provider "azurerm" {
  features {}
}

# The key goes into the environment, as AZURE_OPENAI_API_KEY.
module "support" {
  source = "../.."

  most_recent = true
  suffix      = "support"
  status      = "succeeded"
  base_url    = var.base_url
  api_key_env = "AZURE_OPENAI_API_KEY"
}

resource "azurerm_cognitive_deployment" "support" {
  name                 = "support"
  cognitive_account_id = var.cognitive_account_id

  model {
    format  = "OpenAI"
    name    = module.support.fine_tuned_model
    version = "1" # of every fine-tuned model: a new training is a new name
  }

  sku {
    name = "Standard"
  }

  lifecycle {
    precondition {
      condition     = module.support.fine_tuned_model != null
      error_message = "${module.support.id} has no model to deploy."
    }
  }
}

output "model" {
  value = one(azurerm_cognitive_deployment.support.model).name
}
