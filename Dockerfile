# syntax=docker/dockerfile:1
# earzip in a container, with its models mini-2 and mini built in. In the clone:
#     docker build --target cpu  -t earzip:cpu .
#     docker build --target cuda -t earzip:cuda .      for NVIDIA GPUs
#     docker run --rm -v ~/Music:/srv/music:ro -v ~/Archive:/srv/archive --user "$(id -u):$(id -g)" \
#         earzip:cpu compress /srv/music -o /srv/archive
# requirements/README.md says how the versions of all packages are locked.
FROM python:3.11-slim-bookworm AS build
# For the loops in C; the image itself has no compiler.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/earzip
ENV PATH=/opt/earzip/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements/build.txt /requirements/
RUN pip install --require-hashes -r /requirements/build.txt

FROM build AS build-cpu
COPY requirements/cpu.txt /requirements/
RUN pip install --require-hashes -r /requirements/cpu.txt
COPY . /clone
RUN pip install --no-deps --no-build-isolation /clone

FROM build AS build-cuda
COPY requirements/cuda.txt /requirements/
RUN pip install --require-hashes -r /requirements/cuda.txt
COPY . /clone
RUN pip install --no-deps --no-build-isolation /clone

FROM python:3.11-slim-bookworm AS earzip
RUN useradd --uid 1000 --create-home earzip
ENV PATH=/opt/earzip/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 1000
# The form without a shell: SIGTERM goes to earzip itself, as process 1, which handles it. It has no children
# but its own workers, so it needs no init.
ENTRYPOINT ["earzip"]
CMD ["--help"]

FROM earzip AS cuda
COPY --from=build-cuda /opt/earzip /opt/earzip
# What NVIDIA's container runtime mounts into the container: the driver, and no more.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# The last target is the one that is built without --target.
FROM earzip AS cpu
COPY --from=build-cpu /opt/earzip /opt/earzip
