variable "image" {
  description = "The image in a registry of yours, with its tag or digest."
  type        = string
}

variable "task_role_arn" {
  description = "role_arn of the module hub, with platform ecs."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::\\d{12}:role/.+$", var.task_role_arn))
    error_message = "task_role_arn must be the ARN of a role."
  }
}

variable "config_file" {
  description = "Path of the configuration file in the image. Empty to read the task's own account alone."
  type        = string
  default     = ""
}

variable "cpu_architecture" {
  description = "The architecture of the image: X86_64 or ARM64."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "tags" {
  description = "Tags of the task definition, the log and the execution role."
  type        = map(string)
  default     = {}
}
