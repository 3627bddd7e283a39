# An image with the command, its experiments and TensorFlow.
#
#     docker build -t keras_multigrid .
#     docker run -v "$PWD:/work" keras_multigrid train --gin_file=quickstart
#
# With GPUs, whose libraries come with TensorFlow's wheel:
#
#     docker build --build-arg EXTRAS=cuda,remote -t keras_multigrid:cuda .
#     docker run --gpus all -v "$PWD:/work" keras_multigrid:cuda train --gin_file=quickstart
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
ARG EXTRAS=cpu,remote
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheels /wheels
RUN wheel="$(ls /wheels/*.whl)" \
    && pip install --no-cache-dir --no-compile -c /tmp/constraints.txt "${wheel}[${EXTRAS}]" \
    && rm -rf /wheels /tmp/constraints.txt
# Not root: what runs write belongs to whoever starts them (docker run --user).
RUN useradd --create-home trainer
USER trainer
WORKDIR /work
ENTRYPOINT ["keras-multigrid"]
CMD ["--help"]
