module "latest" {
  source = "../.."

  most_recent = true
  status      = "succeeded"
  suffix      = "support"
  metadata    = { env = "prod" }
}

output "id" {
  value = module.latest.id
}

output "fine_tuned_model" {
  value = module.latest.fine_tuned_model
}
