output "models" {
  description = "The models by their names: whether each is served (`available`), and the day on which it is shut down (`shutdown_date`, as `YYYY-MM-DD`; null if none is announced)."
  value = tomap({ for name, model in local.models : name => {
    id            = name
    available     = tobool(model.available)
    shutdown_date = tostring(model.shutdown_date)
  } })
}
