"""Plain FastAPI and scikit-learn: `python serve_fastapi.py MODEL PORT`."""

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from scoring import Model


class Request(BaseModel):
    instances: list[list[Any]]


def build(path):
    app, model = FastAPI(), Model(path)

    @app.post("/predict")
    def predict(request: Request) -> dict[str, list[float]]:
        return {"predictions": model.probabilities(request.instances)}

    return app


if __name__ == "__main__":
    uvicorn.run(
        build(sys.argv[1]),
        host="127.0.0.1",
        port=int(sys.argv[2]),
        access_log=False,
        log_level="warning",
    )
