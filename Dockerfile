# A server for a run, on CPUs:
#
#     docker build -t vectalk .
#     docker run -p 8000:8000 -v $PWD/runs:/runs -v $PWD/spaces:/spaces -e VECTALK_API_KEY=... vectalk \
#         serve /runs/films --host 0.0.0.0 --api-key-env VECTALK_API_KEY
#
# For a GPU, build with the wheels of your CUDA version: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
FROM python:3.13-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=serve,mcp,eval
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/vectalk \
    && /opt/vectalk/bin/pip install --no-cache-dir -c constraints.txt torch --extra-index-url "$TORCH_INDEX" \
    && /opt/vectalk/bin/pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"

FROM python:3.13-slim
# The server needs no rights: it reads the run. It stores a layout of the map that it computes only where it may write.
RUN useradd --create-home --uid 1000 vectalk
COPY --from=build /opt/vectalk /opt/vectalk
ENV PATH=/opt/vectalk/bin:$PATH PYTHONUNBUFFERED=1
USER 1000
WORKDIR /home/vectalk
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["vectalk"]
CMD ["serve", "--help"]
