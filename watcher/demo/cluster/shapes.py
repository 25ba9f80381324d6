"""The shape of built-in kinds, as far as this cluster reads them: what must be there, and of which type.

It is written as structural schemas, so that built-in and custom resources are checked by the same code. Everything that
is not named is let through: the real server knows more fields than a demonstration needs. With these checks passed, no
other module has to ask whether `spec.template.spec.containers` is really a list of objects.
"""

from __future__ import annotations

from typing import Any

from watcher.demo.cluster.resources import (
    AUTOSCALER,
    CONFIG_MAP,
    CRD,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    EVENT,
    JOB,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from watcher.demo.cluster.schema import Schema


def _object(*needed: str, **properties: Schema) -> Schema:
    return {
        "type": "object",
        "nullable": True,
        "required": list(needed),
        "properties": properties,
        "x-kubernetes-preserve-unknown-fields": True,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "nullable": True, "items": {**items, "nullable": False}}


def _map(values: Schema) -> Schema:
    return {"type": "object", "nullable": True, "additionalProperties": values}


_TEXT: Schema = {"type": "string", "nullable": True}
_WHOLE: Schema = {"type": "integer", "nullable": True}
_FLAG: Schema = {"type": "boolean", "nullable": True}
_EITHER: Schema = {"x-kubernetes-int-or-string": True, "nullable": True}
_TIME: Schema = {"type": "string", "format": "go-time", "nullable": True}
_MICRO_TIME: Schema = {"type": "string", "format": "go-micro-time", "nullable": True}
_TEXTS = _map({"type": "string"})

_PORT_NUMBER: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_SELECTOR = _object(
    matchLabels=_TEXTS,
    matchExpressions=_list(
        {
            **_object("key", "operator", key=_TEXT, values=_list(_TEXT)),
            "properties": {
                "key": {"type": "string"},
                "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                "values": _list({"type": "string"}),
            },
        }
    ),
)
_PROBE = _object(
    httpGet=_object("port", path=_TEXT, port=_EITHER, host=_TEXT, scheme=_TEXT, httpHeaders=_list(_object())),
    tcpSocket=_object("port", port=_EITHER),
    exec=_object(command=_list({"type": "string"})),
    initialDelaySeconds=_WHOLE,
    timeoutSeconds=_WHOLE,
    periodSeconds=_WHOLE,
    successThreshold=_WHOLE,
    failureThreshold=_WHOLE,
)
_CONTAINER: Schema = {
    **_object(
        "name",
        name={"type": "string", "maxLength": 63, "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        image=_TEXT,
        imagePullPolicy={"type": "string", "nullable": True, "enum": ["Always", "IfNotPresent", "Never"]},
        command=_list({"type": "string"}),
        args=_list({"type": "string"}),
        workingDir=_TEXT,
        ports=_list(_object("containerPort", containerPort=_PORT_NUMBER, name=_TEXT, protocol=_TEXT)),
        env=_list(_object("name", name={"type": "string"}, value=_TEXT, valueFrom=_object(fieldRef=_object()))),
        resources=_object(limits=_map(_EITHER), requests=_map(_EITHER)),
        livenessProbe=_PROBE,
        readinessProbe=_PROBE,
        startupProbe=_PROBE,
        volumeMounts=_list(_object("name", "mountPath", name=_TEXT, mountPath=_TEXT)),
    ),
    "nullable": False,
}


def _pod_spec(policies: list[str]) -> Schema:
    return _object(
        "containers",
        containers={"type": "array", "minItems": 1, "items": _CONTAINER},
        initContainers=_list(_CONTAINER),
        restartPolicy={"type": "string", "nullable": True, "enum": policies},
        terminationGracePeriodSeconds=_WHOLE,
        activeDeadlineSeconds=_WHOLE,
        nodeName=_TEXT,
        serviceAccountName=_TEXT,
        volumes=_list(_object("name", name={"type": "string"})),
        imagePullSecrets=_list(_object()),
    )


def _template(policies: list[str]) -> Schema:
    metadata = _object(labels=_TEXTS, annotations=_TEXTS, name=_TEXT)
    return {**_object("spec", metadata=metadata, spec=_solid(_pod_spec(policies))), "nullable": False}


def _solid(schema: Schema) -> Schema:
    return {**schema, "nullable": False}


def _top(*needed: str, **properties: Schema) -> Schema:
    return _solid(_object(*needed, **properties))


_COUNT: Schema = {"type": "integer", "nullable": True, "minimum": 0}
_CONDITION = _solid(_object("type", type={"type": "string"}, status=_TEXT))
_STATUS = _object(
    conditions=_list(_CONDITION),
    replicas=_COUNT,
    readyReplicas=_COUNT,
    updatedReplicas=_COUNT,
    availableReplicas=_COUNT,
    succeeded=_COUNT,
    startTime=_TEXT,
    completionTime=_TEXT,
)
_CONTAINER_STATE = _object(
    running=_object(startedAt=_TEXT),
    waiting=_object(reason=_TEXT, message=_TEXT),
    terminated=_object(reason=_TEXT, exitCode=_WHOLE, signal=_WHOLE, finishedAt=_TEXT),
)
_POD_STATUS = _object(
    phase=_TEXT,
    podIP=_TEXT,
    reason=_TEXT,
    conditions=_list(_CONDITION),
    containerStatuses=_list(
        _solid(
            _object(
                "name",
                name={"type": "string"},
                ready=_FLAG,
                restartCount=_WHOLE,
                state=_CONTAINER_STATE,
                lastState=_CONTAINER_STATE,
            )
        )
    ),
)

SHAPES: dict[tuple[str, str], Schema] = {
    POD.key: _top("spec", spec=_solid(_pod_spec(["Always", "OnFailure", "Never"])), status=_POD_STATUS),
    DEPLOYMENT.key: _top(
        "spec",
        spec=_solid(
            _object(
                "selector",
                "template",
                replicas=_COUNT,
                selector=_solid(_SELECTOR),
                template=_template(["Always"]),
                paused=_FLAG,
                minReadySeconds=_COUNT,
                revisionHistoryLimit=_COUNT,
                progressDeadlineSeconds=_COUNT,
                strategy=_object(
                    type={"type": "string", "nullable": True, "enum": ["Recreate", "RollingUpdate"]},
                    rollingUpdate=_object(maxSurge=_EITHER, maxUnavailable=_EITHER),
                ),
            )
        ),
        status=_STATUS,
    ),
    REPLICA_SET.key: _top(
        "spec",
        spec=_solid(
            _object("selector", "template", replicas=_COUNT, selector=_solid(_SELECTOR), template=_template(["Always"]))
        ),
        status=_STATUS,
    ),
    JOB.key: _top(
        "spec",
        spec=_solid(
            _object(
                "template",
                parallelism=_COUNT,
                completions=_COUNT,
                backoffLimit=_COUNT,
                activeDeadlineSeconds=_COUNT,
                ttlSecondsAfterFinished=_COUNT,
                selector=_SELECTOR,
                template=_template(["Always", "OnFailure", "Never"]),
                manualSelector=_FLAG,
                suspend=_FLAG,
            )
        ),
        status=_STATUS,
    ),
    AUTOSCALER.key: _top(
        "spec",
        spec=_solid(
            _object(
                "scaleTargetRef",
                scaleTargetRef=_solid(_object(apiVersion=_TEXT, kind=_TEXT, name=_TEXT)),
                minReplicas=_WHOLE,
                maxReplicas=_WHOLE,
                metrics=_list(_solid(_object(type=_TEXT, resource=_object(name=_TEXT, target=_object())))),
                behavior=_object(),
            )
        ),
        status=_object(currentReplicas=_WHOLE, desiredReplicas=_WHOLE, conditions=_list(_CONDITION)),
    ),
    SERVICE.key: _top(
        "spec",
        spec=_solid(
            _object(
                type={
                    "type": "string",
                    "nullable": True,
                    "enum": ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
                },
                selector=_TEXTS,
                clusterIP=_TEXT,
                externalName=_TEXT,
                externalIPs=_list({"type": "string"}),
                ports=_list(
                    _solid(
                        _object(
                            "port",
                            port=_PORT_NUMBER,
                            name=_TEXT,
                            protocol={"type": "string", "nullable": True, "enum": ["SCTP", "TCP", "UDP"]},
                            targetPort=_EITHER,
                            nodePort=_WHOLE,
                        )
                    )
                ),
            )
        ),
    ),
    CONFIG_MAP.key: _top(data=_TEXTS, binaryData=_TEXTS, immutable=_FLAG),
    SECRET.key: _top(data=_TEXTS, stringData=_TEXTS, type=_TEXT, immutable=_FLAG),
    ENDPOINT_SLICE.key: _top(
        "addressType",
        addressType={"type": "string", "enum": ["FQDN", "IPv4", "IPv6"]},
        endpoints=_list(
            _solid(_object("addresses", addresses={"type": "array", "minItems": 1, "items": {"type": "string"}}))
        ),
        ports=_list(_object(name=_TEXT, port=_WHOLE, protocol=_TEXT)),
    ),
    EVENT.key: _top(
        "involvedObject",
        involvedObject=_solid(_object(kind=_TEXT, namespace=_TEXT, name=_TEXT)),
        source=_object(component=_TEXT, host=_TEXT),
        series=_object(count=_WHOLE, lastObservedTime=_MICRO_TIME),
        eventTime=_MICRO_TIME,
        firstTimestamp=_TIME,
        lastTimestamp=_TIME,
        message=_TEXT,
        reason=_TEXT,
        count=_WHOLE,
    ),
    LEASE.key: _top(
        spec=_object(
            holderIdentity=_TEXT,
            leaseDurationSeconds={"type": "integer", "nullable": True, "minimum": 1},
            leaseTransitions=_COUNT,
            acquireTime=_MICRO_TIME,
            renewTime=_MICRO_TIME,
        )
    ),
    NODE.key: _top(
        spec=_object(unschedulable=_FLAG),
        status=_object(
            addresses=_list(_solid(_object("type", "address", type={"type": "string"}, address={"type": "string"}))),
            conditions=_list(_CONDITION),
            nodeInfo=_object(),
        ),
    ),
    NAMESPACE.key: _top(spec=_object(), status=_object(phase=_TEXT)),
    SERVICE_ACCOUNT.key: _top(secrets=_list(_object())),
    CRD.key: _top(
        "spec",
        spec=_solid(
            _object(
                group=_TEXT,
                scope=_TEXT,
                conversion=_object(),
                names=_object(
                    plural=_TEXT,
                    singular=_TEXT,
                    kind=_TEXT,
                    listKind=_TEXT,
                    shortNames=_list({"type": "string"}),
                    categories=_list({"type": "string"}),
                ),
                versions=_list(
                    _solid(
                        _object(
                            name=_TEXT,
                            served=_FLAG,
                            storage=_FLAG,
                            schema=_object(openAPIV3Schema=_object()),
                            subresources=_object(),
                            selectableFields=_list(_solid(_object("jsonPath", jsonPath={"type": "string"}))),
                            additionalPrinterColumns=_list(
                                _solid(
                                    _object(
                                        name=_TEXT,
                                        type=_TEXT,
                                        jsonPath=_TEXT,
                                        description=_TEXT,
                                        format=_TEXT,
                                        priority=_WHOLE,
                                    )
                                )
                            ),
                        )
                    )
                ),
            )
        ),
        status=_object(conditions=_list(_CONDITION), storedVersions=_list({"type": "string"}), acceptedNames=_object()),
    ),
}


def shape_of(key: tuple[str, str]) -> Schema | None:
    return SHAPES.get(key)


METADATA: dict[str, Any] = _object(
    name=_TEXT,
    generateName=_TEXT,
    namespace=_TEXT,
    uid=_TEXT,
    resourceVersion=_TEXT,
    labels=_TEXTS,
    annotations=_TEXTS,
    finalizers=_list({"type": "string"}),
    ownerReferences=_list(
        _solid(
            _object(
                "apiVersion",
                "kind",
                "name",
                "uid",
                apiVersion={"type": "string"},
                kind={"type": "string"},
                name={"type": "string"},
                uid={"type": "string"},
            )
        )
    ),
)
"""The shape of metadata, the same for every kind."""
METADATA_FIELDS = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
