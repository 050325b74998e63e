# Markcut on Triton Inference Server, for production. Built from the checkout:
#   docker build -t markcut-triton .
#   docker build -t markcut-triton:cpu --build-arg DEVICE=cpu .
# Not older than 26.06: what came before has holes, and hangs when a queue inside an ensemble
# overflows.
FROM nvcr.io/nvidia/tritonserver:26.06-py3

ARG DEVICE=gpu
ARG BUNDLE=artifacts/demo

WORKDIR /opt/markcut
COPY pyproject.toml README.md LICENSE ./
COPY LICENSES LICENSES
COPY src src
# no inference runtime: the server brings its own
RUN python3 -m pip install --no-cache-dir --break-system-packages .
COPY export export
COPY serving serving
COPY model_repository model_repository
COPY ${BUNDLE} bundle
RUN python3 -m export repository bundle --runner onnxruntime --device "${DEVICE}" --out /models \
    && rm -rf bundle model_repository

# the steps' processes keep the memory of one picture for the next one
ENV MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=536870912

RUN useradd --system --no-create-home --uid 10001 markcut
USER markcut

EXPOSE 8000 8001 8002
# readiness is proved by an inference: Triton's own stays true when a step's process is dead
HEALTHCHECK --interval=30s --timeout=25s --start-period=120s --retries=2 \
    CMD ["python3", "-m", "serving.probe", "http://127.0.0.1:8000"]
ENTRYPOINT ["tritonserver", "--model-repository=/models", "--model-control-mode=none", \
    "--disable-auto-complete-config", "--exit-timeout-secs=30", "--log-format=ISO8601"]
