variable "name" {
  description = "Prefix of everything that is made here."
  type        = string
  default     = "mlops"
}

variable "region" {
  description = "Where the platform and its endpoints run."
  type        = string
}

variable "oidc_provider_arn" {
  description = "OpenID Connect provider of the EKS cluster, whose service accounts take on roles."
  type        = string
}

variable "oidc_provider_url" {
  description = "The provider's URL without https://."
  type        = string
}

variable "namespace" {
  description = "Kubernetes namespace of the platform and of its endpoints."
  type        = string
  default     = "mlops"
}

variable "prediction_log_days" {
  description = "Days after which rows of prediction logs are deleted; they may hold personal data."
  type        = number
  default     = 90
}

variable "keep_images" {
  description = "Newest images of the platform and of serving that are kept; null keeps all. ECR does not know which are in use."
  type        = number
  default     = null

  validation {
    condition     = var.keep_images == null ? true : var.keep_images >= 20
    error_message = "fewer than 20 may remove an image that is live."
  }
}

variable "alarm_topic_arns" {
  description = "SNS topics that are told when an endpoint's alarm changes."
  type        = list(string)
  default     = []
}

variable "endpoints" {
  description = "Experiments served on Lambda or SageMaker, to be alarmed about."
  type = map(object({
    target         = string # "aws_lambda" or "sagemaker"
    max_error_rate = optional(number, 0.02)
    max_latency_ms = optional(number, 500)
  }))
  default = {}

  validation {
    condition     = alltrue([for one in values(var.endpoints) : contains(["aws_lambda", "sagemaker"], one.target)])
    error_message = "target is \"aws_lambda\" or \"sagemaker\"."
  }
  validation {
    condition     = alltrue([for name, one in var.endpoints : one.target != "sagemaker" || length(name) <= 32])
    error_message = "names above 32 letters are shortened on SageMaker; their alarms are made by hand."
  }
}
