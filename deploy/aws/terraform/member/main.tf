# The role that iam-key-exporter assumes in an account, like member-role.yaml.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_partition" "current" {}

locals {
  partition = data.aws_partition.current.partition
}

resource "aws_iam_role" "member" {
  name               = var.role_name
  description        = "Assumed by iam-key-exporter. Read-only."
  assume_role_policy = local.trust
  tags               = var.tags
}

resource "aws_iam_role_policy" "member" {
  name   = "iam-key-exporter"
  role   = aws_iam_role.member.id
  policy = local.policy
}

output "role_arn" {
  description = "role_arn of an account in the exporter's configuration."
  value       = aws_iam_role.member.arn
}
