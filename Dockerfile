# The command line, run by a normal user:
#   docker build -t phonesys .
#   docker run --rm phonesys sweep --sandbox
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" -e PHONESYS_LEADPING_API_KEY phonesys sweep --format csv -o numbers.csv
FROM python:3.13-slim AS build

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY phonesys ./phonesys
RUN python -m venv /opt/phonesys \
    && /opt/phonesys/bin/pip install --no-cache-dir '.[alerts,audit,cli,crypto,export,mcp,postgres,report,xlsx]'

FROM python:3.13-slim

LABEL org.opencontainers.image.title="phonesys" \
      org.opencontainers.image.source="https://github.com/phonesys/phonesys" \
      org.opencontainers.image.licenses="MIT"

RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin phonesys \
    && install --directory --owner=phonesys --group=phonesys /data
COPY --from=build /opt/phonesys /opt/phonesys
ENV PATH=/opt/phonesys/bin:$PATH \
    PYTHONUNBUFFERED=1

# By number, so that a cluster can verify that it is not root.
USER 10001
WORKDIR /data
ENTRYPOINT ["phonesys"]
CMD ["--help"]
