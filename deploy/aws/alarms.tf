# Alarms on endpoints that run outside the cluster. SageMaker's can be named in the YAML
# (`deployment.targets[].alarms`): AWS then rolls an update back by itself.

locals {
  functions_alarmed = { for name, one in var.endpoints : name => one if one.target == "aws_lambda" }
  endpoints_alarmed = { for name, one in var.endpoints : name => one if one.target == "sagemaker" }
}

resource "aws_cloudwatch_metric_alarm" "function_errors" {
  for_each            = local.functions_alarmed
  alarm_name          = "mlops-${each.key}-aws_lambda-errors"
  alarm_description   = "More requests fail than allowed. RUNBOOK: Deployment."
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.max_error_rate
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns

  metric_query {
    id          = "rate"
    expression  = "IF(invocations > 0, errors / invocations, 0)"
    label       = "share of requests that fail"
    return_data = true
  }
  metric_query {
    id = "errors"
    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Errors"
      period      = 60
      stat        = "Sum"
      dimensions  = { FunctionName = "mlops-${replace(each.key, "_", "-")}", Resource = "mlops-${replace(each.key, "_", "-")}:live" }
    }
  }
  metric_query {
    id = "invocations"
    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Invocations"
      period      = 60
      stat        = "Sum"
      dimensions  = { FunctionName = "mlops-${replace(each.key, "_", "-")}", Resource = "mlops-${replace(each.key, "_", "-")}:live" }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "function_latency" {
  for_each            = local.functions_alarmed
  alarm_name          = "mlops-${each.key}-aws_lambda-latency"
  alarm_description   = "One request of a hundred is slower than allowed. RUNBOOK: Deployment."
  namespace           = "AWS/Lambda"
  metric_name         = "Duration"
  extended_statistic  = "p99"
  dimensions          = { FunctionName = "mlops-${replace(each.key, "_", "-")}", Resource = "mlops-${replace(each.key, "_", "-")}:live" }
  period              = 60
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.max_latency_ms
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "endpoint_errors" {
  for_each            = local.endpoints_alarmed
  alarm_name          = "mlops-${each.key}-sagemaker-errors"
  alarm_description   = "More requests fail than allowed. RUNBOOK: Deployment."
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.max_error_rate
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns

  metric_query {
    id          = "rate"
    expression  = "IF(invocations > 0, errors / invocations, 0)"
    label       = "share of requests that fail"
    return_data = true
  }
  # Variants are named after versions, so the alarm asks for all of them at once.
  metric_query {
    id          = "errors"
    expression  = "SELECT SUM(Invocation5XXErrors) FROM SCHEMA(\"AWS/SageMaker\", EndpointName, VariantName) WHERE EndpointName = 'mlops-${replace(each.key, "_", "-")}'"
    period      = 60
    label       = "failed"
    return_data = false
  }
  metric_query {
    id          = "invocations"
    expression  = "SELECT SUM(Invocations) FROM SCHEMA(\"AWS/SageMaker\", EndpointName, VariantName) WHERE EndpointName = 'mlops-${replace(each.key, "_", "-")}'"
    period      = 60
    label       = "all"
    return_data = false
  }
}
