"""What one would put on Lambda with MLflow: the model loaded once, API Gateway events answered.

The model's folder lies in BENCH_MODEL.
"""

import json
import os

import mlflow
import pandas as pd

model = mlflow.pyfunc.load_model(os.environ["BENCH_MODEL"])


def handler(event, context):
    content = json.loads(event["body"])["dataframe_split"]
    table = pd.DataFrame(content["data"], columns=content["columns"])
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"predictions": model.predict(table).tolist()}),
    }
