# The role that iam-key-exporter runs with, like hub-role.yaml.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account    = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  dns_suffix = data.aws_partition.current.dns_suffix
}

resource "aws_iam_role" "hub" {
  name               = var.role_name
  description        = "iam-key-exporter runs with it. Read-only."
  assume_role_policy = local.trust
  tags               = var.tags

  lifecycle {
    precondition {
      condition     = var.platform != "irsa" || var.oidc_provider != ""
      error_message = "irsa needs oidc_provider."
    }
  }
}

resource "aws_iam_role_policy" "hub" {
  name   = "iam-key-exporter"
  role   = aws_iam_role.hub.id
  policy = local.policy
}

resource "aws_iam_instance_profile" "hub" {
  count = var.platform == "ec2" ? 1 : 0

  name = var.role_name
  role = aws_iam_role.hub.name
  tags = var.tags
}

output "role_arn" {
  description = "exporter_arn of the module member, and task_role_arn of the module ecs-task."
  value       = aws_iam_role.hub.arn
}
