from __future__ import annotations

import pytest

from paictl.errors import PaictlError
from tests.drivers.kubernetes.conftest import Reconciling
from tests.drivers.kubernetes.stack import Stack
from tests.engine.graphs import wanting

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]


def test_a_kind_that_the_cluster_does_not_know_is_told_by_its_name(stack: Stack, reconciler: Reconciling) -> None:
    if "externalsecrets" in stack.access.kubectl("api-resources", "--output=name"):
        pytest.skip("this cluster knows ExternalSecrets")
    spec = {"secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"}, "target": {"name": "it"}}
    extra = stack.made("ConfigMap", "extra", {"data": {"it": "1"}})
    with pytest.raises(PaictlError, match="it knows no ExternalSecret"):
        reconciler().apply(wanting([extra, stack.made("ExternalSecret", "it", {"spec": spec})]))
    # Nor has it to be known for a look.
    reconciler().apply(wanting([extra]))
    assert reconciler().plan(wanting([extra])).empty
