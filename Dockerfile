# The image of a worker, of the gateway, and of every other `pointsman` command.
#
# Built without a network from deploy/wheelhouse, which `make wheelhouse` fills. For another Python:
#     scripts/make-wheelhouse 3.12 && docker build --build-arg PYTHON_IMAGE=python:3.12-slim .
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS installed
COPY deploy/wheelhouse /wheelhouse
RUN python3 -m venv /opt/pointsman \
    && /opt/pointsman/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --no-index --find-links /wheelhouse 'pointsman[gateway]' \
    && /opt/pointsman/bin/python -m pip uninstall --yes --quiet pip setuptools

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 pointsman \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pointsman \
    && install --directory --owner 10001 --group 10001 --mode 700 /var/lib/pointsman
COPY --from=installed /opt/pointsman /opt/pointsman
# The top-level packages have common names: nothing from the working directory may stand in for them.
ENV PATH=/opt/pointsman/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["pointsman"]
CMD ["worker", "run"]
