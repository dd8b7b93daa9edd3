"""deploy/kubernetes: accepted by Kubernetes' own schemas, and its parts fit together."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import trustme
import yaml
from typer.main import get_command

from relay.cli import application
from relay.config import Settings, load
from tests.harness.deliveries import ENVIRON
from tests.repository.test_compose import COMPOSE

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / name).read_text()) for name in KUSTOMIZATION["resources"]
}
#: Its schema is the operator's own, and no part of Kubernetes.
FOREIGN = {"pod-monitor.yaml"}

VERSION = kubernetes_validate.latest_version()
NAME = {"app.kubernetes.io/name": "relay"}

POD = MANIFESTS["deployment.yaml"]["spec"]["template"]
SPEC = POD["spec"]
CONTAINERS: dict[str, dict[str, Any]] = {each["name"]: each for each in SPEC["containers"]}
EDGE, DISPATCH = CONTAINERS["edge"], CONTAINERS["dispatch"]
PORTS = {
    port["name"]: port["containerPort"] for each in SPEC["containers"] for port in each["ports"]
}
#: Where each has its admin listener.
ADMIN = {"edge": "admin", "dispatch": "dispatch"}


@pytest.mark.parametrize("name", sorted(set(MANIFESTS) - FOREIGN))
def test_kubernetes_accepts(name: str) -> None:
    # Strict: a key that is not known is a mistake.
    kubernetes_validate.validate(MANIFESTS[name], VERSION, strict=True)


def test_a_mistake_would_be_found() -> None:
    wrong = {**MANIFESTS["service.yaml"], "spec": {"ports": [{"port": "https"}]}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_kustomize_finds_every_file() -> None:
    [configuration] = KUSTOMIZATION["configMapGenerator"]
    named = {*KUSTOMIZATION["resources"], *configuration["files"], "kustomization.yaml"}
    assert {path.name for path in FOLDER.iterdir()} == named
    assert [image["name"] for image in KUSTOMIZATION["images"]] == sorted(
        {each["image"] for each in SPEC["containers"]}
    )


def test_every_selector_finds_the_pod() -> None:
    assert POD["metadata"]["labels"] == NAME
    specs = {name: manifest["spec"] for name, manifest in MANIFESTS.items()}
    assert specs["service.yaml"]["selector"] == NAME
    assert specs["network-policy.yaml"]["podSelector"]["matchLabels"] == NAME
    for name in ("deployment.yaml", "disruption-budget.yaml", "pod-monitor.yaml"):
        assert specs[name]["selector"]["matchLabels"] == NAME


def test_every_port_that_is_named_is_there() -> None:
    for name, container in CONTAINERS.items():
        kinds = ("startup", "liveness", "readiness")
        probes = [container[f"{kind}Probe"]["httpGet"] for kind in kinds]
        paths = [(each["path"], each["port"]) for each in probes]
        assert paths == [("/livez", ADMIN[name])] * 2 + [("/readyz", ADMIN[name])]
    monitored = MANIFESTS["pod-monitor.yaml"]["spec"]["podMetricsEndpoints"]
    assert [(each["port"], each["path"]) for each in monitored] == [
        (port, "/metrics") for port in ADMIN.values()
    ]
    assert [each["targetPort"] for each in MANIFESTS["service.yaml"]["spec"]["ports"]] == ["public"]
    let_in = MANIFESTS["network-policy.yaml"]["spec"]["ingress"]
    assert {port["port"] for rule in let_in for port in rule["ports"]} == set(PORTS)
    # Strangers reach the public port alone.
    assert [port["port"] for rule in let_in if "from" not in rule for port in rule["ports"]] == [
        "public"
    ]


def test_never_two_at_once() -> None:
    """SQLite: the volume and the events in it belong to one pod."""
    spec = MANIFESTS["deployment.yaml"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    volume = MANIFESTS["volume.yaml"]
    assert volume["spec"]["accessModes"] == ["ReadWriteOncePod"]
    [claim] = [each for each in SPEC["volumes"] if "persistentVolumeClaim" in each]
    assert claim["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
    # With one replica a budget that keeps it available would let no node be drained.
    assert "minAvailable" not in MANIFESTS["disruption-budget.yaml"]["spec"]


def test_it_has_as_few_rights_as_in_compose() -> None:
    compose = COMPOSE["services"]["relay"]
    for each in CONTAINERS.values():
        container = each["securityContext"]
        assert container["readOnlyRootFilesystem"] is compose["read_only"] is True
        assert container["capabilities"]["drop"] == compose["cap_drop"] == ["ALL"]
        assert container["allowPrivilegeEscalation"] is False
    assert SPEC["automountServiceAccountToken"] is False
    assert SPEC["securityContext"]["runAsNonRoot"] is True
    # The image's user.
    assert SPEC["securityContext"]["runAsUser"] == 10001
    assert SPEC["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def settings(directory: Path) -> Settings:
    """Return the configuration in the config map, as the pod sees it."""
    pair = trustme.CA().issue_cert("pay.example.com")
    pair.cert_chain_pems[0].write_to_path(directory / "tls.crt")
    pair.private_key_pem.write_to_path(directory / "tls.key")
    text = (FOLDER / "relay.yaml").read_text()
    mounted = {each["name"]: each["mountPath"] for each in EDGE["volumeMounts"]}
    assert f"{mounted['tls']}/tls.crt" in text
    file = directory / "relay.yaml"
    file.write_text(text.replace(mounted["tls"], str(directory)))
    return load(file, ENVIRON | {"STATE_DIRECTORY": str(directory)})


def test_relay_takes_its_configuration(tmp_path: Path) -> None:
    taken = settings(tmp_path)
    assert taken.admin.bind.port == PORTS["admin"]
    assert EDGE["volumeMounts"] == DISPATCH["volumeMounts"]
    assert [each.bind.port for each in taken.listen] == [PORTS["public"]]
    grace = taken.shutdown_grace.total_seconds()
    grace += EDGE["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert grace < SPEC["terminationGracePeriodSeconds"]
    [upstream] = taken.upstreams.values()
    allowed = MANIFESTS["network-policy.yaml"]["spec"]["egress"]
    ports = {port["port"] for rule in allowed for port in rule["ports"]}
    assert int(str(upstream.url).split(":")[2].split("/")[0]) in ports


@pytest.mark.parametrize("name", CONTAINERS)
def test_its_arguments_can_be_typed(name: str) -> None:
    verb, *arguments = CONTAINERS[name]["args"]
    command: Any = get_command(application([verb]))
    typed = command.commands[verb].make_context(verb, arguments).params
    assert typed["role"].value == name
    admin = typed["admin"]
    assert admin is None or admin == f"0.0.0.0:{PORTS[ADMIN[name]]}"
