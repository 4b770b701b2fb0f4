# An image that trains: docker build -t muybridge .
# docker run --rm -v "$PWD":/videos muybridge quickstart
# On a machine with NVIDIA GPUs and their container toolkit, add --gpus all --shm-size 8g.
FROM python:3.11-slim

# What `training.compile=true` compiles with.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

WORKDIR /muybridge
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt '.[tune]'

# Not as root; with --user "$(id -u):$(id -g)" files in a mounted folder are yours.
RUN useradd --home-dir /videos --create-home muybridge
USER muybridge
ENV HOME=/videos
WORKDIR /videos
ENTRYPOINT ["muybridge"]
CMD ["--help"]
