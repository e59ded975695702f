# The platform with its dependencies: code server, run pods, webserver and daemon use this image.
# An endpoint does not: it has an image of its own, deploy/docker/Dockerfile.
FROM python:3.11-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/mlops
ENV PATH=/opt/mlops/bin:$PATH

# Dependencies change seldom, the package often: they are layers of their own. Bytecode is compiled
# here, because the user of the last stage cannot write it and every process would compile again.
COPY requirements.txt /build/
RUN pip install --no-compile -r /build/requirements.txt \
    && { python -m compileall -q -j 0 /opt/mlops/lib > /dev/null 2>&1 || true; }
COPY pyproject.toml setup.py README.md LICENSE /build/
COPY mlops_assets /build/mlops_assets
RUN pip install --no-deps /build

FROM python:3.11-slim

# LightGBM and scikit-learn's wheels need OpenMP's runtime, which the slim image lacks.
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 --user-group mlops \
    && install -d -o mlops -g mlops /project /project/configs /project/.mlops /project/.dagster

COPY --from=build /opt/mlops /opt/mlops
COPY --chown=mlops:mlops workspace.yaml dagster.yaml /project/
COPY --chown=mlops:mlops configs /project/configs

ENV PATH=/opt/mlops/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MLOPS_ROOT=/project \
    DAGSTER_HOME=/project/.dagster
RUN ln -s ../dagster.yaml /project/.dagster/dagster.yaml
WORKDIR /project
USER 10001:10001
# No entry point: Dagster gives the pods of runs and steps their arguments alone, `dagster` the first.
CMD ["mlops", "--help"]
