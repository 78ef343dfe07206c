locals {
  # The policies for each value of `accounts`.
  policies = {
    this         = ["report", "confirmation", "tags", "alias", "service-credentials", "controls"]
    listed       = ["report", "confirmation", "tags", "alias", "service-credentials", "controls", "roles"]
    organization = ["report", "confirmation", "tags", "alias", "service-credentials", "controls", "organization"]
  }
  member_role = "arn:${local.partition}:iam::*:role/${var.member_role_name}"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = flatten([
      for name in local.policies[var.accounts] : jsondecode(replace(
        file("${path.module}/../../policies/${name}.json"),
        "arn:aws:iam::*:role/iam-key-exporter", local.member_role
      )).Statement
    ])
  })

  trust = templatefile("${path.module}/trust/${var.platform}.json.tftpl", {
    account         = local.account
    partition       = local.partition
    dns_suffix      = local.dns_suffix
    namespace       = var.namespace
    service_account = var.service_account
    oidc_provider   = var.oidc_provider
  })
}
