terraform {
  required_version = ">= 1.3.1"

  required_providers {
    external = {
      source  = "hashicorp/external"
      version = ">= 1.2"
    }
  }
}
