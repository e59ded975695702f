output "bucket" {
  description = "For MLOPS_DATA_URL (s3://BUCKET/data) and MLOPS_ARTIFACTS_DESTINATION (s3://BUCKET/mlflow)."
  value       = aws_s3_bucket.store.bucket
}

output "images" {
  description = "Where the platform's and the endpoints' images are pushed."
  value       = { for name, repository in aws_ecr_repository.images : name => repository.repository_url }
}

output "roles" {
  description = "For the annotations of service accounts, and `role` of the targets aws_lambda and sagemaker."
  value = merge(
    { for name, role in aws_iam_role.cluster : name => role.arn },
    { lambda = aws_iam_role.lambda.arn, sagemaker = aws_iam_role.sagemaker.arn },
  )
}
