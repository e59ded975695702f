# One role for each kind of program, with what it does and no more.

locals {
  functions  = "arn:${local.partition}:lambda:${var.region}:${local.account}:function:mlops-*"
  sagemaker  = "arn:${local.partition}:sagemaker:${var.region}:${local.account}"
  data       = "${aws_s3_bucket.store.arn}/data/*"
  mlflow     = "${aws_s3_bucket.store.arn}/mlflow/*"
  log_groups = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group"
}

# Service accounts of the cluster that may take on a role.
data "aws_iam_policy_document" "service_account" {
  for_each = {
    platform = ["mlops-platform", "mlops-runs"]
    mlflow   = ["mlflow"]
    endpoint = ["mlops-endpoint-*"]
  }
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }
    condition {
      test     = "StringLike"
      variable = "${var.oidc_provider_url}:sub"
      values   = [for account in each.value : "system:serviceaccount:${var.namespace}:${account}"]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.oidc_provider_url}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "cluster" {
  for_each           = data.aws_iam_policy_document.service_account
  name               = "${var.name}-${each.key}"
  assume_role_policy = each.value.json
}

# Endpoints read bundles, and write profiles and prediction logs.
data "aws_iam_policy_document" "endpoint" {
  statement {
    sid       = "ReadBundles"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.store.arn}/data/bundles/*"]
  }
  statement {
    sid     = "WriteWhatTheySaw"
    actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    resources = [
      "${aws_s3_bucket.store.arn}/data/*/profiles/*",
      "${aws_s3_bucket.store.arn}/data/*/predictions/*",
    ]
  }
  statement {
    sid       = "FindThem"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.store.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["data/bundles/*", "data/*/profiles/*", "data/*/predictions/*"]
    }
  }
}

data "aws_iam_policy_document" "mlflow" {
  statement {
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [local.mlflow]
  }
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.store.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["mlflow/*"]
    }
  }
}

data "aws_iam_policy_document" "platform" {
  statement {
    sid       = "Store"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = [local.data, "${aws_s3_bucket.store.arn}/functions/*"]
  }
  statement {
    sid       = "FindInStore"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.store.arn]
  }
  statement {
    sid = "Functions"
    actions = [
      "lambda:AddPermission", "lambda:CreateAlias", "lambda:CreateFunction",
      "lambda:CreateFunctionUrlConfig", "lambda:DeleteAlias", "lambda:DeleteFunction",
      "lambda:DeleteFunctionConcurrency", "lambda:DeleteFunctionUrlConfig",
      "lambda:DeleteProvisionedConcurrencyConfig", "lambda:GetAlias", "lambda:GetFunction",
      "lambda:GetFunctionConcurrency", "lambda:GetFunctionConfiguration",
      "lambda:GetFunctionUrlConfig", "lambda:GetPolicy", "lambda:GetProvisionedConcurrencyConfig",
      "lambda:InvokeFunction", "lambda:ListVersionsByFunction", "lambda:PublishVersion",
      "lambda:PutFunctionConcurrency", "lambda:PutProvisionedConcurrencyConfig",
      "lambda:RemovePermission", "lambda:TagResource", "lambda:UpdateAlias",
      "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
      "lambda:UpdateFunctionUrlConfig",
    ]
    resources = [local.functions, "${local.functions}:*"]
  }
  statement {
    sid       = "RemoveImagesOfOldVersions"
    actions   = ["ecr:BatchDeleteImage", "ecr:DescribeImages"]
    resources = [aws_ecr_repository.images["lambda"].arn]
  }
  statement {
    sid = "SageMaker"
    actions = [
      "sagemaker:AddTags", "sagemaker:CreateEndpoint", "sagemaker:CreateEndpointConfig",
      "sagemaker:CreateModel", "sagemaker:DeleteEndpoint", "sagemaker:DeleteEndpointConfig",
      "sagemaker:DeleteModel", "sagemaker:DescribeEndpoint",
      "sagemaker:DescribeEndpointConfig", "sagemaker:DescribeModel", "sagemaker:InvokeEndpoint",
      "sagemaker:ListTags", "sagemaker:UpdateEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities",
    ]
    resources = [
      "${local.sagemaker}:endpoint/mlops-*",
      "${local.sagemaker}:endpoint/candidate-of-mlops-*",
      "${local.sagemaker}:endpoint-config/mlops-*",
      "${local.sagemaker}:endpoint-config/stopped-mlops-*",
      "${local.sagemaker}:model/mlops-*",
    ]
  }
  # These take no resource in AWS's own permission model.
  statement {
    sid = "Look"
    actions = [
      "cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "cloudwatch:ListMetrics",
      "sagemaker:ListEndpointConfigs", "sagemaker:ListModels",
    ]
    resources = ["*"]
  }
  statement {
    sid       = "GiveRolesToEndpoints"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.lambda.arn, aws_iam_role.sagemaker.arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["lambda.amazonaws.com", "sagemaker.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "cluster" {
  for_each = {
    platform = data.aws_iam_policy_document.platform.json
    mlflow   = data.aws_iam_policy_document.mlflow.json
    endpoint = data.aws_iam_policy_document.endpoint.json
  }
  name   = each.key
  role   = aws_iam_role.cluster[each.key].id
  policy = each.value
}

# Roles that Lambda and SageMaker run endpoints under.
data "aws_iam_policy_document" "service" {
  for_each = toset(["lambda", "sagemaker"])
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "lambda" {
  name               = "${var.name}-lambda"
  assume_role_policy = data.aws_iam_policy_document.service["lambda"].json
}

resource "aws_iam_role" "sagemaker" {
  name               = "${var.name}-sagemaker"
  assume_role_policy = data.aws_iam_policy_document.service["sagemaker"].json
}

data "aws_iam_policy_document" "logs" {
  statement {
    actions = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [
      "${local.log_groups}:/aws/lambda/mlops-*",
      "${local.log_groups}:/aws/lambda/mlops-*:*",
      "${local.log_groups}:/aws/sagemaker/Endpoints/mlops-*",
      "${local.log_groups}:/aws/sagemaker/Endpoints/mlops-*:*",
    ]
  }
}

data "aws_iam_policy_document" "sagemaker" {
  source_policy_documents = [
    data.aws_iam_policy_document.endpoint.json,
    data.aws_iam_policy_document.logs.json,
  ]
  statement {
    sid       = "PullImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [aws_ecr_repository.images["serving"].arn]
  }
  statement {
    sid       = "LogInToEcr"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid       = "Capture"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.store.arn}/data/*/capture/*"]
  }
  statement {
    sid       = "Metrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["AWS/SageMaker", "/aws/sagemaker/Endpoints"]
    }
  }
}

data "aws_iam_policy_document" "lambda" {
  source_policy_documents = [
    data.aws_iam_policy_document.endpoint.json,
    data.aws_iam_policy_document.logs.json,
  ]
}

resource "aws_iam_role_policy" "lambda" {
  name   = "endpoint"
  role   = aws_iam_role.lambda.id
  policy = data.aws_iam_policy_document.lambda.json
}

resource "aws_iam_role_policy" "sagemaker" {
  name   = "endpoint"
  role   = aws_iam_role.sagemaker.id
  policy = data.aws_iam_policy_document.sagemaker.json
}
