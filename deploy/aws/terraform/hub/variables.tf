variable "platform" {
  description = "Where the exporter runs: pod-identity, irsa, ecs or ec2."
  type        = string

  validation {
    condition     = contains(["pod-identity", "irsa", "ecs", "ec2"], var.platform)
    error_message = "platform must be pod-identity, irsa, ecs or ec2."
  }
}

variable "accounts" {
  description = "Which accounts it reads: this (this one alone), listed (also those of a list), or organization (also every account of its organization)."
  type        = string
  default     = "organization"

  validation {
    condition     = contains(["this", "listed", "organization"], var.accounts)
    error_message = "accounts must be this, listed or organization."
  }
}

variable "role_name" {
  description = "The name of this role. It must differ from member_role_name, as this account can have both."
  type        = string
  default     = "iam-key-exporter-hub"

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.role_name))
    error_message = "role_name must be the name of a role, without a path."
  }
}

variable "member_role_name" {
  description = "As role_name in the exporter's configuration."
  type        = string
  default     = "iam-key-exporter"

  validation {
    condition     = can(regex("^[A-Za-z0-9_+=,.@-]{1,64}$", var.member_role_name))
    error_message = "member_role_name must be the name of a role, without a path."
  }
}

variable "namespace" {
  description = "For pod-identity and irsa, the namespace of the exporter's pod."
  type        = string
  default     = "monitoring"
}

variable "service_account" {
  description = "For pod-identity and irsa, the service account of the exporter's pod."
  type        = string
  default     = "iam-key-exporter"
}

variable "oidc_provider" {
  description = "For irsa, the cluster's issuer without https://, such as oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(|[A-Za-z0-9./-]+)$", var.oidc_provider))
    error_message = "oidc_provider must be a host and a path, without https://."
  }
}

variable "tags" {
  description = "Tags of the role and the instance profile."
  type        = map(string)
  default     = {}
}
