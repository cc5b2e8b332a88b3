# All programs, built from source, in an image that runs them. No Rust needed:
#
#   docker build -t batch --build-arg COMMIT="$(git rev-parse --short HEAD)" .
#   docker run --rm batch sim run
#
# RUST may name another image with cargo 1.95 or later, a C compiler and glibc of Debian 12 or older.
ARG RUST=rust:1.95-bookworm
FROM ${RUST} AS build
WORKDIR /src
COPY . .
ARG COMMIT=
RUN BUILD_COMMIT="$COMMIT" cargo build --release --locked --workspace --exclude tests --bins \
      --features sim/kind,cloud/gcp \
 && mkdir /programs \
 && cp target/release/sim target/release/worker target/release/cloud target/release/fixtures /programs \
 && rm -rf target

FROM debian:bookworm-slim
COPY --from=build /programs/ /usr/local/bin/
WORKDIR /work
RUN chown 65532:65532 /work
USER 65532:65532
CMD ["sim", "run"]
