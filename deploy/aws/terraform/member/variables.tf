variable "exporter_arn" {
  description = "ARN of the role or user that the exporter runs with, such as role_arn of the module hub."
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::\\d{12}:(role|user)/[A-Za-z0-9_+=,.@/-]+$", var.exporter_arn))
    error_message = "exporter_arn must be the ARN of a role or user."
  }
}

variable "external_id" {
  description = "As external_id in the exporter's configuration."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@:/-]{2,}$", var.external_id)) && length(var.external_id) <= 1224
    error_message = "external_id must have between 2 and 1224 letters, digits and _+=,.@:/-"
  }
}

variable "role_name" {
  description = "As role_name in the exporter's configuration."
  type        = string
  default     = "iam-key-exporter"

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.role_name))
    error_message = "role_name must be the name of a role, without a path."
  }
}

variable "tags" {
  description = "Tags of the role."
  type        = map(string)
  default     = {}
}
