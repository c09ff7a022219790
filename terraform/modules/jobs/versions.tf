terraform {
  required_version = ">= 1.3.1"

  required_providers {
    external = {
      source  = "hashicorp/external"
      version = ">= 1.2, != 2.2.0, != 2.2.1, != 2.2.2" # these three end every program after 20 minutes
    }
  }
}
