variable "jobs" {
  description = "Fine-tuning jobs, each as `jsondecode` makes it from the program's `job`."
  nullable    = false

  type = map(object({
    id                   = string
    object               = string
    model                = string
    created_at           = number
    finished_at          = number
    estimated_finish     = number
    fine_tuned_model     = string
    organization_id      = string
    status               = string
    training_file        = string
    validation_file      = string
    trained_tokens       = number
    seed                 = number
    user_provided_suffix = string
    result_files         = list(string)
    metadata             = map(string)
    error                = string
    error_code           = string
    error_param          = string

    # Looked up on request.
    fine_tuned_model_available     = bool
    fine_tuned_model_shutdown_date = string
    checkpoints = list(object({
      id                          = string
      created_at                  = number
      fine_tuned_model_checkpoint = string
      step_number                 = number
      metrics = object({
        step                           = number
        train_loss                     = number
        train_mean_token_accuracy      = number
        valid_loss                     = number
        valid_mean_token_accuracy      = number
        full_valid_loss                = number
        full_valid_mean_token_accuracy = number
      })
    }))

    # The API's own objects, without what it leaves out.
    integrations = list(object({
      type = optional(string)
      wandb = optional(object({
        project = optional(string)
        name    = optional(string)
        entity  = optional(string)
        tags    = optional(list(string))
      }))
    }))

    hyperparameters = object({
      n_epochs                 = number
      batch_size               = number
      learning_rate_multiplier = number
    })

    method = object({
      type = string
      supervised = object({
        hyperparameters = object({
          n_epochs                 = number
          batch_size               = number
          learning_rate_multiplier = number
        })
      })
      dpo = object({
        hyperparameters = object({
          n_epochs                 = number
          batch_size               = number
          learning_rate_multiplier = number
          beta                     = number
        })
      })
      reinforcement = object({
        grader = string # JSON text: graders have many shapes
        hyperparameters = object({
          n_epochs                 = number
          batch_size               = number
          learning_rate_multiplier = number
          compute_multiplier       = number
          eval_interval            = number
          eval_samples             = number
          reasoning_effort         = string
        })
      })
    })
  }))
}
