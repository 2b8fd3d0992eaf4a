# The server. Build:  docker build -t boggers .
#   for CUDA:         docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 -t boggers .
# Run:                docker run -p 127.0.0.1:8000:8000 -v ./runs:/runs:ro -e RUN=/runs/demo boggers
FROM python:3.12-slim

# Where torch comes from; the default holds builds for the processor alone.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_WAIT_POLICY=PASSIVE

RUN useradd --create-home --uid 10001 boggers
WORKDIR /app

# torch first and alone: it changes rarely, and no other package may choose another build of it.
COPY constraints.txt ./
RUN pip install --index-url "$TORCH_INDEX" "$(grep '^torch==' constraints.txt)"

COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install -c constraints.txt ".[graph,serve]"

# A new volume takes its owner from the folder that it covers.
RUN mkdir /graph && chown boggers /graph

USER boggers
# GRAPH=/graph attaches the living graph that the volume keeps.
ENV RUN=/runs/model GRAPH= HOST=0.0.0.0 PORT=8000
VOLUME ["/runs", "/graph"]
EXPOSE 8000

# /health answers 200 only once the model is loaded.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4)"]

# Without a trained run in $RUN this says so in a line and stops.
CMD ["sh", "-c", "exec boggers serve \"$RUN\" --host \"$HOST\" --port \"$PORT\" ${GRAPH:+--graph \"$GRAPH\"}"]
