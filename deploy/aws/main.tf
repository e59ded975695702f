# What the targets kubernetes (EKS), aws_lambda and sagemaker need in an AWS account. The cluster, its
# network and the database are yours; this makes the images' repositories, the bucket and the roles.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  bucket    = "${var.name}-${local.account}"
}

resource "aws_ecr_repository" "images" {
  for_each             = toset(["platform", "serving", "lambda"])
  name                 = "${var.name}-${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

# Images of functions are one per version of a model: the job `retention` removes them with it.
resource "aws_ecr_lifecycle_policy" "images" {
  for_each   = aws_ecr_repository.images
  repository = each.value.name
  policy = jsonencode({
    rules = concat([{
      rulePriority = 1
      description  = "Images without a tag are left over from failed pushes."
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
      }], [for count in var.keep_images == null || each.key == "lambda" ? [] : [var.keep_images] : {
      rulePriority = 2
      description  = "Only the newest are kept."
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = count }
      action       = { type = "expire" }
    }])
  })
}

# Lambda itself fetches a function's image, whatever the function's role may do.
resource "aws_ecr_repository_policy" "lambda" {
  repository = aws_ecr_repository.images["lambda"].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "FetchImagesOfFunctions"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    }]
  })
}

# Snapshots, bundles, profiles, prediction logs and MLflow's artifacts.
resource "aws_s3_bucket" "store" {
  bucket = local.bucket
}

resource "aws_s3_bucket_public_access_block" "store" {
  bucket                  = aws_s3_bucket.store.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "store" {
  bucket = aws_s3_bucket.store.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "aws:kms"
    }
    bucket_key_enabled = true
  }
}

resource "aws_s3_bucket_versioning" "store" {
  bucket = aws_s3_bucket.store.id
  versioning_configuration {
    status = "Enabled"
  }
}

# A rule selects objects by the beginning of their keys: hence one for each experiment's log.
resource "aws_s3_bucket_lifecycle_configuration" "store" {
  bucket = aws_s3_bucket.store.id

  rule {
    id     = "old-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  dynamic "rule" {
    for_each = var.endpoints
    content {
      id     = "prediction-log-${rule.key}"
      status = "Enabled"
      filter {
        prefix = "data/${rule.key}/predictions/"
      }
      expiration {
        days = var.prediction_log_days
      }
    }
  }
}

data "aws_iam_policy_document" "only_encrypted" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.store.arn, "${aws_s3_bucket.store.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "store" {
  bucket = aws_s3_bucket.store.id
  policy = data.aws_iam_policy_document.only_encrypted.json
}
