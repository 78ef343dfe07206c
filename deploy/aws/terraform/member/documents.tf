locals {
  policies = ["report", "confirmation", "tags", "alias", "service-credentials", "controls"]

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = flatten([
      for name in local.policies : jsondecode(file("${path.module}/../../policies/${name}.json")).Statement
    ])
  })

  trust = templatefile("${path.module}/trust.json.tftpl", {
    partition    = local.partition
    account      = split(":", var.exporter_arn)[4]
    exporter_arn = var.exporter_arn
    external_id  = var.external_id
  })
}
