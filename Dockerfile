# The image of the daemon. Both stages take their base as a build argument, so that it can be built from a mirror or
# without any registry:
#
#   docker build --tag bluegreen-watcher:0.1.0 .
#   docker build --build-arg BASE=mirror.example/python:3.11-slim --tag bluegreen-watcher:0.1.0 .
#
# BUILD_BASE needs Python 3.11 or later with pip and venv; BASE only the same Python at the same place.
ARG BASE=python:3.11-slim
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The environment gets no pip of its own: the build's pip works on it from outside.
RUN python3 -m venv --without-pip /opt/watcher && python3 -m venv /opt/build
COPY requirements/ requirements/
# Locked and hashed, both what the daemon needs and what builds its wheel.
RUN python3 -m pip --python /opt/watcher/bin/python install --quiet --no-compile --require-hashes -r requirements/run.txt \
 && /opt/build/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY rules/ rules/
COPY deploy/crd.yaml deploy/crd.yaml
COPY watcher/ watcher/
RUN /opt/build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && python3 -m pip --python /opt/watcher/bin/python install --quiet --no-compile --no-deps --no-index dist/*.whl
# Half of what was installed is never imported: the asynchronous twin of the Kubernetes client, what only that needs,
# and tests. The client's models stay, as source only. Bytecode does not depend on the files' times, which copying between
# stages may change. In the end every module but the optional plots is imported, so that nothing is missed that it needs.
RUN cd /opt/watcher/lib/python3*/site-packages \
 && python3 -m pip --python /opt/watcher/bin/python uninstall --quiet --yes \
      aiohttp aiohttp-retry aiohappyeyeballs aiosignal frozenlist multidict propcache yarl \
 && rm -rf kubernetes/aio && find . -type d -name tests -prune -exec rm -rf {} + \
 && /opt/watcher/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/kubernetes/client/(models|api)/' . \
 && /opt/watcher/bin/python -c "import importlib, pkgutil, watcher; [importlib.import_module(one.name) for one in \
      pkgutil.walk_packages(watcher.__path__, 'watcher.') if not one.name.endswith(('__main__', '.plot'))]"

FROM ${BASE}
# Nothing in the image installs anything.
RUN if python3 -m pip --version >/dev/null 2>&1; then \
      for package in setuptools wheel pip; do \
        if python3 -m pip show --quiet $package 2>/dev/null; then \
          python3 -m pip uninstall --quiet --yes --root-user-action=ignore $package; \
        fi; \
      done; \
    fi
COPY --from=build /opt/watcher /opt/watcher
ENV PATH=/opt/watcher/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that the kubelet can see that it is not root. It writes nothing: the root file system may be read-only.
USER 65532:65532
EXPOSE 8080
# Behind a proxy (HTTPS_PROXY, HTTP_PROXY) set NO_PROXY as well, with the address of the API server, Prometheus and the
# cluster's networks in it. deploy/base/deployment.yaml does. Probes are in the manifests too, so there is no HEALTHCHECK.
ENTRYPOINT ["watcher"]
CMD ["run"]
