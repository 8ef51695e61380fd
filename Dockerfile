# Fjord for a CPU: llama.cpp and a small model out of a package, for laptops and small servers.
# docs/docker.md says how to build and run it; Dockerfile.cuda is the one for NVIDIA GPUs.
#
# Where no registry of images is reachable, BASE names an image that is there: Debian 12 or newer
# with Python 3.11 or newer as `python`, venv and CA certificates.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS builder
# A site's own index of packages; pip's own where it is not given.
ARG PIP_INDEX_URL
WORKDIR /build
COPY requirements/laptop.txt ./
# --no-deps and hashes: nothing comes in that the lock does not name.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-deps --require-hashes -r laptop.txt
COPY server /opt/fjord/server
COPY engines /opt/fjord/engines
COPY model_registry.yaml LICENSE /opt/fjord/
RUN python -m compileall -q /opt/fjord \
 && printf '#!/bin/sh\nexec /opt/venv/bin/python -P -m server "$@"\n' > /opt/fjord/fjord \
 && chmod 755 /opt/fjord/fjord

FROM ${BASE}
# llama.cpp computes with OpenMP. tini reaps the engines' processes and passes signals on.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 libstdc++6 tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 fjord \
 && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin fjord \
 && install -d -o fjord -g fjord -m 0750 /data /models
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/fjord /opt/fjord
# HF_HUB_OFFLINE=1: a serving container never reaches out; weights are fetched on purpose, once, with
# `-e HF_HUB_OFFLINE=0 … prepare`, or copied into /models. The small model needs none.
ENV PATH=/opt/fjord:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/fjord \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    HF_HOME=/models \
    FJORD_WEIGHTS_DIR=/models/weights \
    HF_HUB_OFFLINE=1 \
    FJORD_HOST=0.0.0.0 \
    FJORD_DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME ["/data", "/models"]
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-m", "server.cli.alive"]
ENTRYPOINT ["tini", "--", "fjord"]
CMD ["serve"]
