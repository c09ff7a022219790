terraform {
  required_version = ">= 1.5" # check blocks, plantimestamp
}
