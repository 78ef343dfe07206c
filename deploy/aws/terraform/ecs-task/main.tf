# Runs iam-key-exporter as an ECS task on Fargate, like ecs-task.yaml.

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
data "aws_region" "current" {}

resource "aws_cloudwatch_log_group" "logs" {
  name              = "/ecs/iam-key-exporter"
  retention_in_days = 30
  tags              = var.tags
}

# ECS pulls the image and writes the log with this role. The exporter cannot use it.
resource "aws_iam_role" "execution" {
  name_prefix = "iam-key-exporter-task-"
  assume_role_policy = templatefile("${path.module}/../hub/trust/ecs.json.tftpl", {
    account = data.aws_caller_identity.current.account_id
  })
  tags = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_ecs_task_definition" "task" {
  family                   = "iam-key-exporter"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = "256"
  memory                   = "512"
  task_role_arn            = var.task_role_arn
  execution_role_arn       = aws_iam_role.execution.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = templatefile("${path.module}/containers.json.tftpl", {
    image       = var.image
    config_file = var.config_file
    log_group   = aws_cloudwatch_log_group.logs.name
    region      = data.aws_region.current.id
  })
}

output "task_definition_arn" {
  value = aws_ecs_task_definition.task.arn
}
